"""The 1/n tensors of the NTK, its differential and second differentials: numbers of the theory pages, other code paths, laws."""

from itertools import product
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.activations.activation import activation
from largen.errors import AccuracyWarning
from largen.theory.corrections import corrections as front, quartets as room
from largen.theory.corrections.quartets import PATTERNS, quartets

NTK = ("Theta", "Theta1", "D", "F", "A", "B")
FOUR = (*"DFABPQRSTU",)


def entries(out: Any, name: str, at: list[tuple[int, ...]]) -> list[float]:
    return [float(getattr(out, name)[i]) for i in at]


# ---------------------------------------------------------------- numbers of the pages

# pdlt_inf_AB, T1: entries 0000, 1111, 0101, 0011, 0001 of layers 2 and 3
T1 = """
V .21653,.24380,.39043,.00001,.00232; D -.09123,-.14122,.20754,-.00001,-.04016; F .14564,.16597,.38078,.00020,.06082
B .57237,.74507,.39457,.05230,.14544; A .04839,.09867,.13189,0,.01699; P -.15960,-.21721,-.00017,-.00017,-.00104
Q -.08192,-.12870,.21559,-.00006,-.00051; R -.77626,-1.20260,-.04654,-.06324,-.18754; S .49879,.71530,.21060,.05672,.13860
T .06471,.13345,-.03537,.00003,-.01237; U .19352,.31793,.02882,.00002,.06103
V .22756,.23570,.44607,.01649,.07591; D -.25968,-.29494,.27552,-.01598,-.06587; F .25816,.26963,.70198,.01893,.14263
B 1.92971,2.14635,1.27164,.27120,.61842; A .34025,.43650,.33322,.01454,.08925; P -.65894,-.76098,-.03361,-.03361,-.14541
Q -.34603,-.39638,.45101,-.01736,-.06528; R -4.42225,-5.29618,-.41822,-.51820,-1.30297; S 2.46453,2.91715,.80414,.41210,.82089
T .56884,.72954,-.18861,.01722,-.07832; U 1.00009,1.21568,.22417,.00898,.40214
"""
RATES = ([0.5] * 3, [0.8] * 3)
X1 = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]])
NET1 = lg.mlp(widths=[8, 8], out=1, activation="tanh", C_W=1.5, C_b=0.3)


def test_T1_every_tensor_of_two_inputs() -> None:
    out = lg.corrections(NET1, X1, RATES, layer="all")
    rows = [cell.split() for line in T1.strip().splitlines() for cell in line.split(";")]
    at = [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 1)]
    for i, (name, numbers) in enumerate(rows):
        wanted = [float(v) for v in numbers.split(",")]
        np.testing.assert_allclose(entries(out, name, [(1 + i // 11, *e) for e in at]), wanted, atol=6e-6)
    assert out.Theta is not None
    np.testing.assert_allclose(
        out.Theta[1:, [0, 0, 1], [0, 1, 1]], [[1.415233, 0.678003, 1.510096], [1.830780, 0.992333, 1.875403]], atol=6e-7
    )


# pdlt_6_9, 8.1: widths 32:48:64, rates by layer; entries 0000, 0101, 0011, 0110, 0001, 1000
SET_M = {
    "relu": """V 15.442727 4.910121 2.139957 4.910121 6.038468 6.038468
D 19.902638 4.201480 2.681240 4.201480 4.677957 7.686833
F 12.476886 7.891554 2.503445 2.543491 3.189038 7.519090
A 38.396347 5.598982 4.642055 5.598982 8.445501 8.445501
B 28.895750 14.306476 3.317562 2.874737 6.838312 6.838312""",
    "tanh": """V 0.139476 0.293503 0.000978 0.293503 -0.011598 -0.011598
D -0.496643 0.394726 -0.005330 0.394726 -0.202505 0.075594
F 0.414722 1.152410 0.001328 -0.003795 0.277147 -0.007774
A 2.064887 1.226640 0.031048 1.226640 0.866641 0.866641
B 7.579480 5.516952 1.412526 1.350242 2.923534 2.923534""",
}
MEANS = {"relu": (3.846928, 1.706902, 0.0, 1.013846), "tanh": (2.707595, 1.572544, 0.091657, 0.343818)}


@pytest.mark.parametrize(("name", "C_b", "C_W"), [("relu", 0.1, 1.8), ("tanh", 0.05, 1.3)])
def test_set_M_unequal_widths_and_rates(name: str, C_b: float, C_W: float) -> None:
    net = lg.mlp(widths=[32, 48, 64], out=10, activation=name, C_W=C_W, C_b=C_b)
    out = lg.corrections(
        net, np.array([[1.0, 0.6, -0.5], [0.4, -0.9, 0.8]]), ([0.7, 0.4, 0.9, 0.6], [1.2, 0.8, 1.1, 0.5]), tensors=("V", *NTK)
    )
    at = [(0, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 1), (0, 1, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0)]
    for row in SET_M[name].splitlines():
        tensor, *numbers = row.split()
        np.testing.assert_allclose(entries(out, tensor, at), np.array(numbers, float), atol=2e-6)
    assert out.Theta is not None and out.Theta1 is not None and out.P is None and out.missing["P"] == "not asked for"
    np.testing.assert_allclose([*out.Theta[0], *out.Theta1[0]], MEANS[name], atol=2e-6)


# pdlt_10_11, 2.5: all index combinations of two inputs, L = 3
P = """-.338286 -.01341 -.119683 -.004332 -.119683 -.004332 -.057953 -.001721
-.001717 -.054638 -.004241 -.108577 -.004241 -.108577 -.01278 -.294047"""
Q = """-.130625 -.00264 -.049502 -.001553 -.113475 .319448 -.060006 .062172
.065052 -.056484 .336265 -.104763 -.001481 -.042111 -.002956 -.108809"""


def test_P_and_Q_at_all_index_combinations() -> None:
    net = lg.mlp(widths=[8, 8], out=1, activation="tanh", C_W=1.0, C_b=0.1)
    out = lg.corrections(net, np.array([[1.0, -0.5, 0.8], [0.3, 0.9, -0.7]]), (0.5, 1.0), tensors=("P", "Q"))
    for name, numbers in (("P", P), ("Q", Q)):
        np.testing.assert_allclose(getattr(out, name).ravel(), np.array(numbers.split(), float), atol=2e-6)


def test_set_S_and_R_one_input() -> None:
    """pdlt_6_9, 8.2 and 8.3, and the closed forms of the scale-invariant class (9.42-9.52, 11.79)."""
    x = np.array([[1.1, -0.7, 0.9]])
    tanh = lg.corrections(lg.mlp(widths=[64] * 3, out=10, activation="tanh"), x, (0.7, 1.2), layer="all")
    wanted = {"Theta": (1.704, 1.98075036, 2.26027027, 2.55522709), "D": (0, -0.06676698, -0.10683469, -0.13879515)}
    wanted |= {"F": (0, 0.13201813, 0.18032513, 0.21733913), "B": (0, 1.07137306, 2.47663667, 4.43740293)}
    wanted |= {"A": (0, 0.06585185, 0.20712396, 0.47621991)}
    for name, numbers in wanted.items():
        np.testing.assert_allclose(getattr(tanh, name).ravel(), numbers, atol=2e-8)
    K, w = 1.6, 1.2 * 0.5 * 1.6
    relu = lg.corrections(lg.mlp(widths=[9] * 11, activation="relu", C_W=2.0), np.full((1, 4), 0.8**0.5), (0.7, 1.2), layer="all")
    l = np.arange(1, 13)
    forms = {"Theta": (0.7 + w) * l, "V": 5 * (l - 1) * K**2, "D": l * (l - 1) / 2 * (0.7 * K + 0.6 * 6 * K**2), "P": 0 * l}
    forms |= {"F": l * (l - 1) / 2 * 2 * (0.7 + w) * K, "B": l * (l - 1) * (2 * l - 1) / 6 * 2 * (0.7 + w) ** 2}
    forms |= {"A": l * (l - 1) / 2 * w * (0.7 + w) + l * (l - 1) * (2 * l - 1) / 6 * (0.49 + 2.1 * w + 7 * w**2)}
    forms |= {"Q": l * (l**2 - 1) / 6 * (0.7 + w) * 1.2 * K}
    for name, values in forms.items():
        np.testing.assert_allclose(getattr(relu, name).ravel(), values, rtol=1e-12, atol=1e-12)
    assert relu.A is not None
    np.testing.assert_allclose(relu.A.ravel()[[1, 3, 11]], [10.5508, 134.9624, 4637.5208], rtol=1e-9)


def test_linear_networks_T2() -> None:
    X = np.array([[1.0, -0.8, 0.5], [0.3, 0.9, -0.2]])
    X[0] *= np.sqrt(2.41 / (X[0] @ X[0]))
    out = lg.corrections(lg.mlp(widths=[8] * 5, activation="linear"), X, (0.7 / 6, 1.3 / 6))
    got = entries(out, "S", [(0,) * 4]) + entries(out, "T", [(0,) * 4]) + entries(out, "Q", [(0,) * 4])
    np.testing.assert_allclose(got, [1.922817, 1.151191, 1.771064], atol=2e-6)
    assert out.R is not None and out.U is not None and not np.any(out.R) and not np.any(out.U)


def test_training_the_last_layer_only_is_bayesian_T11() -> None:
    net = lg.mlp(widths=[8] * 3, activation="tanh", C_W=1.5, C_b=0.3)
    out = lg.corrections(net, X1, ([0, 0, 0, 0.3], [0, 0, 0, 1.5]))
    for name, same in (("Theta", out.K), ("A", out.V), ("D", out.V), ("Theta1", out.K1)):
        np.testing.assert_allclose(getattr(out, name), same, atol=1e-9)
    assert not any(np.any(getattr(out, name)) for name in "BFPQRSTU")


@pytest.mark.slow
def test_depth_asymptotics_T5() -> None:
    """tanh at criticality, lambda_b = .6/l, lambda_W = 1.1: limits of the normalised tensors, at depth 10,000."""
    L, lb, lw = 10_000, 0.6, 1.1
    net = lg.mlp(widths=[64] * (L - 1), activation="tanh")
    out = lg.corrections(net, np.ones((1, 3)), (lb / np.arange(1, L + 1), np.full(L, lw)))
    K, H, t, c = *(float(v.ravel()[0]) for v in (out.K, out.Theta)), lb + lw / 2, lw / 2
    limits = {"R": -(3 * lb + 4 * c) / t / 48, "S": c / t / 12, "T": (lb / t) ** 2 / 32}
    for name, limit in limits.items():
        assert float(getattr(out, name).ravel()[0]) * K / H**3 / L == pytest.approx(limit, rel=3e-3)
    assert float(np.ravel(out.U)[0]) * K / H**3 * L == pytest.approx(0.5, rel=3e-3)
    for name, limit in {"P": -1 / 12, "Q": -lb / t / 16, "B": 1 / 3, "A": 4 / 27 * (lb / t) ** 2}.items():
        assert float(getattr(out, name).ravel()[0]) / H**2 / L == pytest.approx(limit, rel=5e-3)


# ---------------------------------------------------------------- four inputs, against another code path


def grid(step: float, reach: float, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A product trapezoid rule for n independent normals, cut to a ball: (nodes, n) and weights."""
    line = np.arange(-round(reach / step), round(reach / step) + 1) * step
    u = np.stack(np.meshgrid(*[line] * n, indexing="ij"), -1).reshape(-1, n)
    u = u[(u**2).sum(1) <= reach**2]
    return u, (step / np.sqrt(2 * np.pi)) ** n * np.exp(-(u**2).sum(1) / 2)


def draws(count: int, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    u = np.random.default_rng(0).normal(size=(count, n))
    return np.concatenate([u, -u]), np.full(2 * count, 0.5 / count)


def by_metric_inverse(X: np.ndarray, widths: tuple[int, ...], name: str, hyper: tuple[float, ...], rule: Any) -> dict[str, Any]:
    """The recursions as printed, (4.119), (8.77), (8.79), (8.89), (8.97), with the inverse kernel; expectations by a rule of nodes."""
    phi, (C, C_b, lb, lw), n = activation(name), hyper, len(X)
    functions = jax.jit(lambda z: (phi(z), phi.derivative()(z)))
    K, H = C_b + C * X @ X.T / X.shape[1], lb + lw * X @ X.T / X.shape[1]
    V, D, F, A, B = (np.zeros((n,) * 4) for _ in range(5))
    before, (u, weights) = X.shape[1], rule
    for width in widths:
        r, inverse, before, root = width / before, np.linalg.inv(K), width, np.linalg.cholesky(K)
        moments: Any = 0.0
        for part in np.array_split(np.arange(len(u)), max(1, len(u) // 100_000)):
            z = u[part] @ root.T
            with jax.enable_x64():
                s, d = (np.asarray(v) for v in functions(z))
            pairs = [(a[:, :, None] * b[:, None]).reshape(len(z), -1) for a, b in ((s, s), (d, d), (z, z), (s, d))]
            features = np.concatenate([np.ones((len(z), 1)), *pairs, z], 1)
            moments = moments + (features * weights[part, None]).T @ features
        at = {name: slice(1 + n * n * i, 1 + n * n * (i + 1)) for i, name in enumerate(("ss", "dd", "zz", "sd"))}

        four = {(f, g): moments[at[f], at[g]].reshape((n,) * 4) for f in at for g in at}
        G, slopes = (moments[0, at[f]].reshape(n, n) for f in ("ss", "dd"))
        last = lambda Y: Y[None, None]  # noqa: E731
        first = lambda Y: Y[:, :, None, None]  # noqa: E731
        swap = lambda Y: Y.transpose(2, 3, 0, 1)  # noqa: E731
        parts = {"ss": G, "dd": slopes}
        cov = {(f, g): four[f, g] - first(parts[f]) * last(parts[g]) for f in parts for g in parts}
        raised = {f: np.einsum("abef,ec,fd->abcd", four[f, "zz"] - first(parts[f]) * last(K), inverse, inverse) for f in parts}
        omega = lw * raised["ss"] + C * first(H) * raised["dd"]  # <Omega (zz - K)> K^-1 K^-1
        om_om = lw**2 * cov["ss", "ss"] + lw * C * (last(H) * cov["ss", "dd"] + first(H) * cov["dd", "ss"])
        om_om = om_om + C**2 * first(H) * last(H) * cov["dd", "dd"]
        ss_om = lw * cov["ss", "ss"] + C * last(H) * cov["ss", "dd"]
        through = lambda P, T: np.einsum("abef,efcd->abcd", P, T)  # noqa: E731
        own = swap(through(omega, swap(through(raised["ss"], V))))
        new_D = C * ss_om + r / 4 * C * own + r / 2 * C**2 * through(raised["ss"], D) * last(slopes)
        mixed = through(omega, D) * last(slopes)
        A = om_om + r / 4 * swap(through(omega, swap(through(omega, V)))) + r * C**2 * first(slopes) * last(slopes) * A
        A = A + r * C / 2 * (mixed + swap(mixed))
        carry = np.einsum("abe,ec->abc", moments[at["sd"], -n:].reshape(n, n, n), inverse)  # <s1 s'3 z> K^-1
        moved = np.einsum("abe,cdf,ebfd->abcd", carry, carry, F)
        F = C**2 * (four["ss", "dd"].transpose(0, 2, 1, 3) * H[None, :, None, :] + r * moved)
        B = C**2 * (four["dd", "dd"] * H[:, None, :, None] * H[None, :, None, :] + r * first(slopes) * last(slopes) * B)
        V = C**2 * (cov["ss", "ss"] + r / 4 * swap(through(raised["ss"], swap(through(raised["ss"], V)))))
        D, K, H = new_D, C_b + C * G, lb + lw * G + C * slopes * H
    return {"K": K, "Theta": H, "V": V, "D": D, "F": F, "A": A, "B": B}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "within"), [("tanh", 1e-6), ("relu", 0.015)])
def test_four_inputs_at_three_unequal_widths(name: str, within: float) -> None:
    """Against the printed recursions with the inverse kernel, of the largest entry; a product rule, or, with kinks, 800,000 draws."""
    X = np.random.default_rng(5).normal(size=(4, 6))
    X /= np.sqrt((X**2).mean(1, keepdims=True))
    out = lg.corrections(lg.mlp(widths=[8, 12, 6], activation=name, C_W=1.2, C_b=0.1), X, (0.4, 0.9))
    rule = grid(0.31, 6.6) if name == "tanh" else draws(400_000)
    for tensor, values in by_metric_inverse(X, (8, 12, 6), name, (1.2, 0.1, 0.4, 0.9), rule).items():
        got = getattr(out, tensor)
        assert np.abs(got - values).max() < within * np.abs(got).max(), tensor


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.3)", "abs", "gelu"])
def test_expectations_of_four_factors_by_sampling(name: str) -> None:
    """Every pattern at all kinds of coincidences of four inputs: within 4.5 standard errors of 500,000 draws."""
    phi, top = activation(name), 3 if name == "gelu" else 1
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(4, 6))
    K = 1.2 * Z @ Z.T / 6
    z = rng.multivariate_normal(np.zeros(4), K, size=500_000, method="cholesky")
    found, _ = quartets(phi, K, top)
    s = [np.asarray(jax.jit(phi.derivative(i))(z)) for i in range(top + 1)]
    assert set(found) == set(PATTERNS[top])
    for orders, X in found.items():
        for at in (
            (0, 1, 2, 3),
            (3, 1, 0, 2),
            (0, 0, 1, 2),
            (0, 1, 0, 2),
            (1, 2, 0, 0),
            (0, 1, 1, 0),
            (0, 0, 1, 1),
            (0, 1, 1, 1),
            (2, 2, 2, 2),
        ):
            values = np.prod([s[o][:, a] for o, a in zip(orders, at, strict=True)], 0)
            assert abs(values.mean() - X[at]) < 4.5 * values.std() / len(z) ** 0.5 + 1e-6 * abs(X[at]), (orders, at)


# ---------------------------------------------------------------- laws


@settings(max_examples=6)
@given(st.sampled_from(["relu", "abs", "leaky_relu(0.2)"]), st.integers(0, 1000), st.floats(0.3, 1.5), st.floats(0.2, 1.5))
def test_symmetries(name: str, seed: int, lb: float, lw: float) -> None:
    """A like V; D: 1 <-> 2, 3 <-> 4; F: pairs together; B: transposition of the NTKs; P: slots 1 and 2. Relabelled inputs relabel."""
    X = np.random.default_rng(seed).normal(size=(3, 4))
    net = lg.mlp(widths=[8, 6, 7], activation=name, C_W=1.5, C_b=0.1)
    out = lg.corrections(net, X, (lb, lw))
    orders = {
        "A": ((1, 0, 2, 3), (2, 3, 0, 1)),
        "D": ((1, 0, 2, 3), (0, 1, 3, 2)),
        "F": ((2, 3, 0, 1),),
        "B": ((2, 3, 0, 1), (1, 0, 3, 2)),
        "P": ((0, 2, 1, 3),),
    }
    turn = [2, 0, 1]
    again = lg.corrections(net, X[turn], (lb, lw))
    for tensor, perms in orders.items():
        T = np.asarray(getattr(out, tensor))
        for perm in perms:
            np.testing.assert_allclose(T, T.transpose(perm), atol=1e-9 * np.abs(T).max())
        np.testing.assert_allclose(getattr(again, tensor), T[np.ix_(*[turn] * 4)], atol=1e-9 * np.abs(T).max())
    assert np.linalg.eigvalsh(np.asarray(out.A).reshape(9, 9)).min() > -1e-9 * np.abs(out.A).max()


def test_symmetries_of_second_differentials() -> None:
    out = lg.corrections(NET1, np.concatenate([X1, [[0.4, 0.4, 0.7]]]), RATES)
    for tensor, perm in {"R": (0, 1, 3, 2), "S": (1, 0, 3, 2), "T": (3, 2, 1, 0), "U": (2, 3, 0, 1), "P": (0, 2, 1, 3)}.items():
        T = np.asarray(getattr(out, tensor))
        np.testing.assert_allclose(T, T.transpose(perm), atol=1e-7 * np.abs(T).max(), err_msg=tensor)


def test_gauge() -> None:
    """Rates times c: Theta, D, F by c, A, B, P, Q by c^2, R, S, T, U by c^3."""
    one, other = (lg.corrections(NET1, X1, (0.5 * c, 0.8 * c)) for c in (1.0, 3.0))
    for names, power in ((("Theta", "Theta1", "D", "F"), 1), (("A", "B", "P", "Q"), 2), (("R", "S", "T", "U"), 3)):
        for name in names:
            np.testing.assert_allclose(getattr(other, name), 3.0**power * np.asarray(getattr(one, name)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_duplicates_and_antipodes(name: str) -> None:
    """Equal inputs have equal entries, and the limit of nearly equal and nearly opposite inputs is reached."""
    x, y = np.array([1.0, -0.4, 0.7]), np.array([0.1, 0.9, -0.8])
    net = lg.mlp(widths=[12, 9, 15], activation=name, C_W=1.4, C_b=0.1)
    exact = lg.corrections(net, np.stack([x, y, x, -x]), (0.5, 0.8))
    near = lg.corrections(net, np.stack([x, y, x + 1e-7, -x + 1e-7]), (0.5, 0.8))
    for tensor in (*NTK, "P", "Q"):
        T, close = np.asarray(getattr(exact, tensor)), np.asarray(getattr(near, tensor))
        np.testing.assert_array_equal(T[0], T[2])
        np.testing.assert_allclose(close, T, atol=1e-3 * np.abs(T).max(), err_msg=tensor)


def test_the_lattices_know_their_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarser lattices for four inputs change the tensors by less than about the error they report."""
    X = np.random.default_rng(3).normal(size=(4, 5))
    net = lg.mlp(widths=[8], activation="tanh", C_W=1.3)
    fine = lg.corrections(net, X, tensors=("T",))
    monkeypatch.setattr(room, "TOLERANCE", dict.fromkeys(room.TOLERANCE, 1e-3))
    with pytest.warns(AccuracyWarning):
        coarse = lg.corrections(net, X, tensors=("T",))
    gap = np.abs(np.asarray(coarse.T) - np.asarray(fine.T)).max() / np.abs(np.asarray(fine.T)).max()
    assert fine.error < 1e-6 and 1e-9 < gap < 10 * coarse.error


def test_dntks_of_relu_networks_as_automatic_differentiation_has_them() -> None:
    """Without the explicit second derivative P is 0 at every depth, and Q what real networks were measured to have (|z| < 1.3)."""
    net = lg.mlp(widths=[12, 12], activation="relu", C_W=1.8, C_b=0.1)
    out = lg.corrections(net, X1, (0.5, 0.8), tensors=("P", "Q"))
    assert out.P is not None and not np.any(out.P) and out.Q is not None and out.Q[0, 1, 0, 1] > 0.5
    linear = lg.corrections(lg.mlp(widths=[8] * 3, activation="linear"), X1[:1], (0.5, 0.8))
    assert linear.S is not None and linear.S[0, 0, 0, 0] > 0 and linear.R is not None and not np.any(linear.R)


@pytest.mark.slow
def test_one_input_is_many_equal_ones() -> None:
    net = lg.mlp(widths=[12, 9, 15], activation="gelu", C_W=1.4, C_b=0.1)
    one = lg.corrections(net, X1[:1], (0.5, 0.8))
    two = lg.corrections(net, X1, (0.5, 0.8))
    for name in (*NTK, *FOUR):
        a, b = np.ravel(getattr(one, name))[0], np.ravel(getattr(two, name))[0]
        assert a == pytest.approx(b, abs=1e-6 * max(1.0, abs(b))), name


def test_every_entry_is_written() -> None:
    found, _ = quartets(activation("relu"), np.eye(5) + 0.3, 1)
    assert all(np.all(X != 0) for X in found.values())
    assert all(found[0, 0, 1, 1][i] == found[0, 0, 1, 1][i[1], i[0], i[3], i[2]] for i in product(range(5), repeat=4))


@pytest.mark.slow
def test_many_inputs_are_sampled_with_standard_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five inputs by quasi-random points, in place of lattices: off by as much as their standard errors say."""
    X = np.random.default_rng(4).normal(size=(5, 8))
    net = lg.mlp(widths=[8, 12], activation="gelu", C_W=1.5)
    exact = lg.corrections(net, X, (0.4, 0.9))
    assert not exact.standard_errors
    monkeypatch.setattr(front, "LATTICES", 4)
    drawn = lg.corrections(net, X, (0.4, 0.9))
    np.testing.assert_allclose(drawn.Theta, exact.Theta, rtol=1e-12)
    assert set(drawn.standard_errors) == {"Theta1", "V", *FOUR}
    for name, errors in drawn.standard_errors.items():
        gap, size = np.asarray(getattr(drawn, name)) - np.asarray(getattr(exact, name)), np.abs(getattr(exact, name)).max()
        z = gap / np.maximum(errors, 1e-7 * size)
        assert np.sqrt((z**2).mean()) < 2 and np.sqrt((errors**2).mean()) < 1e-3 * size, name
