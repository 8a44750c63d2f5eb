"""Formulas of PDLT, chapters 6 to 11, appendix A and epilogue, that are wrong: evidence that `errata.py` runs beside that of chapter 5."""

from itertools import product
from typing import Any

import jax
import numpy as np
from common import at_infinity
from erratum import Erratum, mean_and_error, weighed
from scipy.optimize import least_squares, root

import largen as lg

CHUNK = 500
TWO, WIDTHS = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]]), (12, 24, 48, 96)


def drawn(net: Any, seed: int, n_in: int, networks: int, dtype: Any = np.float32) -> Any:
    return lg.init(net, n_in, jax.random.key(seed), networks=networks, dtype=dtype)


def noise_of_labels(networks: int = 30_000, widths: tuple[int, ...] = (8, 16, 32, 64)) -> Erratum:
    """Chapter 6, footnote 6: noise of variance s^2 in the labels as a shift of C_b. By definition (6.10): outputs of prior networks, each
    weighted by the likelihood of the labels. tanh, one hidden layer, two labels."""
    noise, angle = 0.4, np.linspace(-1.0, 2.5, 8)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) * 1.3
    train, y = np.array([[1.3, 0.0], [0.2, 1.25]]), np.array([1.0, -0.4])

    def net(width: int, more: float = 0.0) -> Any:
        return lg.mlp(widths=[width], out=4, activation="tanh", C_W=1.5, C_b=[0.1, 0.1 + more])

    means, errors = [], []
    for i, n in enumerate(widths):
        params = drawn(net(n), i, 2, networks)
        z = np.asarray(lg.each(lg.apply, net(n), params, np.concatenate([train, circle]).astype(np.float32), chunk=CHUNK), float)
        weight = np.exp(-((z[:, :2] - y[:, None]) ** 2).sum(1) / (2 * noise))  # of each output by itself
        top, bottom = (weight[:, None] * z[:, 2:]).mean(2), weight.mean(1)[:, None]
        mean = top.mean(0) / bottom.mean(0)
        means.append(mean)
        errors.append(mean_and_error((top - mean * bottom) / bottom.mean(0))[1])
    found = at_infinity(widths, np.stack(means), np.stack(errors))
    right, printed = (
        np.asarray(lg.predict(net(8, more), train, y, circle, how="bayes", ridge=ridge).mean)
        for more, ridge in ((0.0, noise), (noise, 0.0))
    )
    curves = {
        "networks weighted by (6.10), n → ∞": found,
        "printed, C_b + s²": (printed, None),
        "K + s² I": (right, None),
    }
    return weighed(
        "footnote-6-6", "PDLT ch. 6, footnote 6", ("angle of the test input", "posterior mean"), angle, curves, found, right, printed
    )


def corner_of_646(networks: int = 4000, n: int = 32) -> Erratum:
    """(6.46): the entry (-, -) of a kernel in the basis of gammas, printed K0 + K1 + K2. Variance of outputs at x_-, which one hidden
    layer of any width has exactly."""
    net, lengths, plus = lg.mlp(widths=[n], out=1, activation="tanh", C_W=1.5, C_b=0.1), np.linspace(0.2, 1.8, 9), TWO[0]
    X = np.concatenate([plus[None], lengths[:, None] * TWO[1]])
    metric = lg.each(lg.measure.tensors, net, drawn(net, 0, 3, networks), X.astype(np.float32), tensors=("K",), chunk=CHUNK).K
    found = mean_and_error(np.asarray(metric, float))
    K = np.asarray(lg.kernel(net, X).nngp)
    K0, K1, K2 = (K[0, 0] + np.diag(K) + 2 * K[0]) / 4, (K[0, 0] - np.diag(K)) / 2, (K[0, 0] + np.diag(K) - 2 * K[0]) / 4
    right, printed = (K0 - K1 + K2)[1:], (K0 + K1 + K2)[1:]
    value, error = (np.diag(f)[1:] for f in found)
    curves = {
        f"networks of width {n}": (value, error),
        "printed, K0 + K1 + K2": (printed, None),
        "K0 - K1 + K2": (right, None),
    }
    return weighed(
        "eq-6-46", "PDLT (6.46)", ("length of x₋ / 1.44", "variance of outputs at x₋"), lengths, curves, (value, error), right, printed
    )


def rates_of_994(networks: int = 2000, widths: tuple[int, ...] = (8, 16, 32, 64)) -> Erratum:
    """(9.94): lambda_W = lw/(L n), though (8.6) divides by n already. The NTK of ReLU networks at either, against (9.44)."""
    x, L, bias, weight = np.ones((1, 4), np.float32), 3, 0.5, 1.0
    series: list[list[Any]] = [[], []]
    for i, n in enumerate(widths):
        net = lg.mlp(widths=[n] * (L - 1), out=1, activation="relu", C_W=2.0)
        params = drawn(net, i, 4, networks)
        for rows, fans in zip(series, (1.0, np.array([4.0] + [n] * (L - 1))), strict=True):
            rates = (np.full(L, bias / L), weight / L / fans * np.ones(L))
            H = np.asarray(lg.each(lg.empirical_ntk, net, params, x, rates=rates, full=False, chunk=CHUNK), float)
            rows.append(mean_and_error(H[:, 0, 0]))
    ours, book = (np.array(rows).T for rows in series)
    law = np.full(len(widths), bias + weight * 0.5 * 2.0)  # (9.44) at l = L: A2 K* = 1
    z = [np.abs(value - law) / error for value, error in (ours, book)]
    curves = {
        "networks, λ_W = λ/L": (ours[0], ours[1]),
        "networks, printed λ_W = λ/(L n)": (book[0], book[1]),
        "(9.44)": (law, None),
    }
    widest = float(ours[0, -1]), float(ours[1, -1]), float(law[-1]), float(book[0, -1])
    worst = float(z[1].min()), float(z[0].max())
    return Erratum(
        "eq-9-94",
        "PDLT (9.94)",
        ("width n", "NTK of networks"),
        np.array(widths),
        curves,
        *worst,
        "standard errors",
        worst[0] > 6 > 4 > worst[1],
        "x",
        widest,
    )


def uniform_rates(networks: int = 2000, widths: tuple[int, ...] = (16, 32, 64, 128), depth: int = 300) -> Erratum:
    """(10.80), (10.81): ddTheta2 of tanh at uniform rates without the source <s'' s''> Theta ddK2, which is as large as the rest. Two close
    inputs; in units of d^2 = L ddK2 printed 1, right 2 at large depth."""
    angle = 0.2
    X = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]]) * np.sqrt(2)
    at = np.array([2, 4, 6, 10, 20, 40, 80, 150, depth])

    def net(layers: int, width: int = 8) -> Any:
        return lg.mlp(widths=[width] * (layers - 1), out=1, activation="tanh", C="critical")

    def second(M: Any) -> Any:
        return (M[..., 0, 0] + M[..., 1, 1] - 2 * M[..., 0, 1]) / 4

    kernel = lg.kernel(net(depth), X, rates=(1.0, 1.0), layer="all")
    ddK, right = second(np.asarray(kernel.nngp)), second(np.asarray(kernel.ntk))
    u = np.linspace(-8, 8, 321)
    w = np.exp(-u * u / 2) / np.exp(-u * u / 2).sum()
    book = [right[0]]
    for K, dd in zip(np.asarray(kernel.nngp)[:-1, 0, 0], ddK, strict=False):
        slope = ((1 - np.tanh(np.sqrt(K) * u) ** 2) ** 2 * w).sum()
        book.append(slope * (book[-1] + dd))  # (10.70) without <s'' s''>
    value, error = np.full((2, len(at)), np.nan)
    shown = (2, 4)
    for k, layers in enumerate(shown):
        rows = []
        for i, n in enumerate(widths):
            H = lg.each(
                lg.empirical_ntk,
                net(layers, n),
                drawn(net(layers, n), 10 * k + i, 2, networks),
                X.astype(np.float32),
                rates=(1.0, 1.0),
                chunk=CHUNK,
            )
            rows.append(mean_and_error(second(np.asarray(H, float)[..., 0, 0])))
        value[k], error[k] = at_infinity(widths, *map(np.stack, zip(*rows, strict=True)))
    unit = (at * ddK[at - 1]) ** -1
    found = value * unit, error * unit
    ours, printed = right[at - 1] * unit, np.array(book)[at - 1] * unit
    curves = {"networks, n → ∞": found, "printed, without ⟨σ''σ''⟩": (printed, None), "with it": (ours, None)}
    seen = slice(len(shown))
    return weighed(
        "eq-10-80",
        "PDLT (10.80), (10.81)",
        ("layers L", "ddΘ₂ / (L ddK₂)"),
        at,
        curves,
        (found[0][seen], found[1][seen]),
        ours[seen],
        printed[seen],
        "x",
    )


def between_two_points(networks: int = 2000, widths: tuple[int, ...] = (16, 32, 64, 128), batches: int = 20) -> Erratum:
    """(10.113)-(10.117): what networks trained on two close points say between them. Exact regression with the mean NTK of networks, beyond
    the straight line, in units of d^2; the distances d and d/2 leave no term of order d^3."""
    s, y, d = np.array([0.1, 0.3, 0.5, 0.7, 0.9]), 0.65, 0.1
    half = [h * np.array([-0.5, 1.0]) / 2 for h in (d, d / 2)]
    points = [np.stack([x := np.array([1.0, 0.5]) + h, z := np.array([1.0, 0.5]) - h, *(t * x + (1 - t) * z for t in s)]) for h in half]

    def net(width: int) -> Any:
        return lg.mlp(widths=[width, width], out=1, activation="tanh", C_W=1.5, C_b=0.1)

    def bend(H: np.ndarray) -> np.ndarray:
        """Of the mean kernel (both distances, points, 2)."""
        bent = []
        for kernel, h in zip(H, (d, d / 2), strict=True):
            goal = np.array([y + h / 4, y - h / 4])
            bent.append((kernel[2:] @ np.linalg.solve(kernel[:2], goal) - s * goal[0] - (1 - s) * goal[1]) / h**2)
        return 2 * bent[1] - bent[0]

    means, errors = [], []
    for i, n in enumerate(widths):
        params = drawn(net(n), i, 2, networks, np.float64)
        H = np.stack(
            [np.asarray(lg.each(lg.empirical_ntk, net(n), params, X, X[:2], rates=(0.3, 1.0), full=False, chunk=CHUNK)) for X in points], 1
        )
        parts = H.reshape(batches, -1, *H.shape[1:]).mean(1)
        left = np.stack([bend((parts.sum(0) - part) / (batches - 1)) for part in parts])  # the jackknife
        means.append(batches * bend(parts.mean(0)) - (batches - 1) * left.mean(0))
        errors.append(left.std(0) * np.sqrt(batches - 1))
    found = at_infinity(widths, np.stack(means), np.stack(errors))
    curvature = [
        float(lg.analysis.robustness(net(8), X[0], X[1], (0.3, 1.0)).curvature) / h**2 for X, h in zip(points, (d, d / 2), strict=True)
    ]
    right = -s * (1 - s) * (2 * curvature[1] - curvature[0]) * 2 * y
    curves = {"regression with NTKs of networks": found, "printed, 4 s (1 - s)": (4 * right, None), "s (1 - s)": (right, None)}
    axes = ("s, between the two points", "(answer - straight line)/d²")
    return weighed("eq-10-113", "PDLT (10.113)-(10.117)", axes, s, curves, found, right, 4 * right)


def primes_of_1149(networks: tuple[int, ...] = (8000, 4000, 2000, 1000)) -> Erratum:
    """(11.49): the recursion of P with primes on the wrong factors. tanh, two inputs, third layer, every entry."""
    net, rates = lg.mlp(widths=[12, 12], out=1, activation="tanh", C_W=1.5, C_b=0.3), (0.5, 0.8)
    out = lg.check(net, TWO, what="tensors", widths=WIDTHS, networks=networks, key=jax.random.key(2), rates=rates, tensors=("P",))
    level = lg.corrections(net, TWO, rates, layer=2, tensors=("K", "Theta", "P", "B"))
    u = np.linspace(-8, 8, 161)
    points = np.linalg.cholesky(level.K) @ np.array(list(product(u, u))).T
    weight = np.exp(-np.array([a * a + b * b for a, b in product(u, u)]) / 2)
    s = np.tanh(points)
    slope, weight = 1 - s**2, weight / weight.sum()
    bend = -2 * s * slope

    def two(f: np.ndarray, g: np.ndarray) -> np.ndarray:
        return (f * weight) @ g.T

    def recursion(first: np.ndarray, own: np.ndarray, last: np.ndarray) -> np.ndarray:
        """(11.49) with these three functions of z_3: beside s'' s' s', in <s''_0 .> P, in <s''_0 .> B."""
        four = np.einsum("am,bm,cm,dm->abcd", bend * weight, slope, slope, first, optimize=True)
        around = np.einsum("ad,abca->abcd", two(bend, own), level.P) + np.einsum("ad,abcd->abcd", two(slope, slope), level.P)
        around += np.einsum("ad,aabc->abcd", two(bend, last), level.B)
        alone = np.einsum("abcd,ab,ac->abcd", four, level.Theta, level.Theta)
        return 1.5**2 * (alone + np.einsum("bc,abcd->abcd", two(slope, slope), around))

    P, right, printed = out.entries["P"], recursion(s, s, s).ravel(), recursion(slope, slope, bend).ravel()
    found = P.value.ravel(), P.error.ravel()
    curves = {"networks, n → ∞": found, "printed": (printed, None), "(11.49) with the right primes": (right, None)}
    return weighed(
        "eq-11-49", "PDLT (11.49)", ("entry 0000 ... 1111", "P of the third layer"), np.arange(16), curves, found, right, printed
    )


def kink_in_q(networks: tuple[int, ...] = (16_000, 8000, 4000, 2000)) -> Erratum:
    """(11.49), (11.52) for ReLU: the term <s''_0 s'_0 s'_0 s_1>, a delta function at the kink of z_0, which gradients of networks
    lack. Second layer, where it is the only unknown; entries Q_0001 and Q_1110."""
    net, rates = lg.mlp(widths=[12], out=1, activation="relu", C_W=1.8, C_b=0.1), (0.5, 0.8)
    out = lg.check(net, TWO, what="tensors", widths=WIDTHS, networks=networks, key=jax.random.key(3), rates=rates, tensors=("Q",))
    level = lg.corrections(net, TWO, rates, layer=1, tensors=("K", "Theta"))
    K, own = np.asarray(level.K), np.diag(level.K)
    rest = own[::-1] - K[0, 1] ** 2 / own  # of the other input, given that this one is at the kink
    delta = 1.8**2 * np.diag(level.Theta) ** 2 * np.sqrt(rest) / (2 * np.pi * np.sqrt(own)) / 3  # <delta s' s'> = 1/3 for s' = 0 to 1
    Q, chosen = out.entries["Q"], ((0, 1), (0, 1), (0, 1), (1, 0))
    found, right = (Q.value[chosen], Q.error[chosen]), Q.theory[chosen]
    curves = {"networks, n → ∞": found, "printed, with ⟨σ''σ'σ'σ⟩": (right + delta, None), "σ'' = 0": (right, None)}
    return weighed("eq-11-52", "PDLT (11.52) with a kink", ("entry 0001, 1110", "Q of ReLU"), [0, 1], curves, found, right, right + delta)


def exact_optima(model: lg.analysis.QuadraticModel, y: np.ndarray, ridge: float = 1e-10) -> tuple[np.ndarray, np.ndarray]:
    """Outputs on the points after the first of the model with the least sum of squares plus ridge |W|^2, and fitted in the span."""
    n, features = len(y), model.phi.shape[1]
    phi, root_ridge = model.phi[:n], np.sqrt(ridge)

    def miss(W: np.ndarray) -> np.ndarray:
        return model.outputs(W[:, None])[:n, 0] - y

    def lost(W: np.ndarray) -> np.ndarray:
        return np.concatenate([miss(W), root_ridge * W])

    def slope(W: np.ndarray) -> np.ndarray:
        return np.concatenate([model.effective_features(W[:, None])[0, :n], root_ridge * np.eye(features)])

    least = least_squares(lost, np.zeros(features), slope, xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    inside = phi.T @ root(lambda c: miss(phi.T @ c), np.zeros(n), tol=1e-13).x
    ridged, spanned = (model.outputs(W[:, None])[n:, 0] for W in (least, inside))
    return ridged, spanned


def optima_of_chapter_11() -> Erratum:
    """(11.132) is not the limit of a vanishing ridge, and regression with (11.142) is not (11.132). Exact optima of a quadratic model by
    minimisation; errors of first-order formulas fall as eps^2, others as eps."""
    N, F, strengths = 3, 14, np.array([0.04, 0.02, 0.01, 0.005])
    rng, errors = np.random.default_rng(3), np.empty((3, len(strengths)))
    phi, psi, y = rng.normal(size=(N + 2, F)), rng.normal(size=(N + 2, F, F)), rng.normal(size=N)
    for i, eps in enumerate(strengths):
        model = lg.analysis.QuadraticModel(phi, psi, eps)
        ridged, spanned = exact_optima(model, y)
        span, norm = (lg.analysis.nearly_kernel(model.kernel(), model.meta_kernel(), y, optimum) for optimum in ("span", "minimum norm"))
        regression = span.trained[0][N:, :N] @ np.linalg.solve(span.trained[0][:N, :N], y)
        errors[:, i] = [np.abs(a - b).max() for a, b in ((span.mean, ridged), (norm.mean, ridged), (regression, spanned))]
    power = np.log(errors[:, 0] / errors[:, -1]) / np.log(strengths[0] / strengths[-1])
    curves = {
        "printed, (11.132)": (errors[0], None),
        "printed, (11.142)": (errors[2], None),
        "with Z_A = k⁻¹k⁻¹": (errors[1], None),
    }
    holds = bool(max(power[0], power[2]) < 1.3 and power[1] > 1.8)
    axes = ("strength ε of the quadratic term", "error of the formula")
    return Erratum(
        "eq-11-132",
        "PDLT (11.132), (11.142)",
        axes,
        strengths,
        curves,
        float(max(power[0], power[2])),
        float(power[1]),
        "power of ε in the error",
        holds,
        "xy",
    )


def information_in_depth(networks: int = 20_000, n: int = 16) -> Erratum:
    """Appendix A: the mutual information of two neurons by the series (A.67), which turns over at r*, and its exact value, which grows.
    From the metrics of real tanh networks of width 16; the exact law is sampled independently."""
    depths, x = np.array([2, 4, 6, 8, 11, 14]), np.ones((1, 4))
    net = lg.mlp(widths=[n] * (int(depths[-1]) - 1), out=2, activation="tanh", C="critical")
    levels = list(lg.each(lg.measure.preactivations, net, drawn(net, 0, 4, networks), x.astype(np.float32), chunk=CHUNK).values())
    r = np.exp(np.linspace(-25, 2.5, 400))
    dr, rows = r * np.log(r[1] / r[0]), []
    for i, depth in enumerate(depths):
        G = (np.tanh(np.asarray(levels[depth - 2], float)[:, 0]) ** 2).mean(1, keepdims=True)
        gauss = np.exp(-(r**2) / (2 * G)) / np.sqrt(2 * np.pi * G)
        surprise = 0.0  # of each network: 2 S(1) - S(2)
        for density, volume, sign in ((gauss, 2 * dr, 2), (gauss / np.sqrt(2 * np.pi * G), 2 * np.pi * r * dr, -1)):
            surprise = surprise - sign * (density * np.log(density.mean(0).clip(1e-300)) * volume).sum(1)
        known = lg.analysis.information(net, x, layer=int(depth), key=jax.random.key(i), draws=networks)
        assert known.sampled is not None and known.series is not None and known.sampled.mutual_se is not None
        mean, error = mean_and_error(np.asarray(surprise))
        rows.append((mean, np.hypot(error, known.sampled.mutual_se), known.sampled.mutual, known.series.mutual))
    value, error, right, printed = np.array(rows).T
    curves = {"networks of width 16": (value, error), "printed, (A.67)": (printed, None), "exact law": (right, None)}
    return weighed(
        "appendix-A", "PDLT appendix A", ("L/n (r* = 0.23)", "mutual information, nats"), depths / n, curves, (value, error), right, printed
    )


def count_of_eps25() -> Erratum:
    """(eps.25): a distribution to order 1/n takes O(N^2) numbers. How many different ones V of an ensemble has for N inputs."""
    inputs, net = np.array([1, 2, 3, 4, 6, 8]), lg.mlp(widths=[8, 8], out=1, activation="tanh")
    params, X = drawn(net, 0, 8, 60, np.float64), np.random.default_rng(0).normal(size=(8, 8))
    V = np.asarray(lg.each(lg.measure.tensors, net, params, X, tensors=("V",), chunk=60).V).mean(0)
    counted = np.array([len(np.unique(np.round(V[:N, :N, :N, :N] / V.max(), 10))) for N in inputs], float)
    right = np.array([float((lg.analysis.complexity(net, int(N)).tensors or {})["V"]) for N in inputs])
    printed = counted[0] * inputs**2
    curves = {
        "printed, N²": (printed, None),
        "V_(12)(34), N⁴/8": (right, None),
        "different numbers in V of networks": (counted, 0 * counted),
    }
    off = [float(abs(law[-1] / counted[-1] - 1)) for law in (printed, right)]
    last = float(counted[-1]), 0.0, float(right[-1]), float(printed[-1])
    axes = ("inputs N", "different entries")
    return Erratum("eq-eps-25", "PDLT (ε.25)", axes, inputs, curves, *off, "relative, 8 inputs", off[0] > 0.5 and off[1] == 0, "xy", last)
