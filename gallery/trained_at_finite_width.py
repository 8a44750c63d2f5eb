"""MNIST, 16 train and 8 test digits: networks of width 8 to 256 trained to the end, against theory to first order in 1/n.

Theory says what an ensemble of trained networks does beyond its infinite width: mean and variance of every test point move by c/n, with
c from the fluctuation of the tangent kernel and from its motion in training. Here thousands of real networks are trained to the end and
n times what they do beyond infinite width is followed to n = infinity. Theory's pattern over the test points is fitted to it:
`strength` is 1 if c is right.

Noise is kept small in two steps. Each network is linearised too: what training adds to its own linearisation is small, and is measured
on networks that are trained, in pairs with both signs of the readout. What linearised networks do needs no training, and is
measured on many more. Inputs are turned into as many features as there are points: Gaussian first weights do not see the difference.

    python gallery/trained_at_finite_width.py            # data: MNIST, see common.py

Four minutes on a GPU (with JAX_DEFAULT_MATMUL_PRECISION=highest: its default rounds products to ten bits), out of reach of two cores.

Exit code 1 if the claim fails: a strength at n = infinity more than 4 standard errors from 1 or known to worse than 10 %; the widest
networks more than 4 from what the narrower ones say; or a control (no correction at all; the linearised networks alone; the sign of
PDLT inf.157 as printed) not refused at 6 standard errors. Exit code 2 without data. Writes `trained_at_finite_width.html` in --out.
"""

import sys
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import plotly.graph_objects as go
from common import mnist, run

import largen as lg

WIDTHS, CHECK, TRAINED, UNTRAINED, BATCH = (8, 16, 32, 64, 128), 256, 36000, 360000, 2000
SHAPE: dict[str, Any] = {"out": 1, "activation": "tanh", "C_W": 1.0}
QUANTITIES = ("mean", "variance")


def digits(train: int, test: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised digits 0 and 1, train points first, as (points, points) features of the same inner products, and targets -1/2, 1/2."""
    images, labels, _, _ = mnist(50 * (train + test), 1)
    chosen = np.flatnonzero(labels < 2)[: train + test]
    X = np.asarray(lg.standardize(images[chosen]))
    values, vectors = np.linalg.eigh(X @ X.T * (len(X) / X.shape[1]))
    return vectors * np.sqrt(np.maximum(values, 0)), labels[chosen[:train]] - 0.5


def network(width: int) -> Any:
    """Two hidden layers of tanh, critical."""
    return lg.mlp(widths=[width, width], **SHAPE)


@dataclass(frozen=True)
class Limit:
    """The network at infinite width: P z + R y is the output of every test point, if the kernels were frozen at their limits."""

    R: np.ndarray
    y: np.ndarray
    X: np.ndarray
    eta: float
    steps: int

    def frozen(self, z: np.ndarray) -> np.ndarray:
        """P z, (networks, test), of mean zero."""
        n = len(self.y)
        return z[:, n:] - z[:, :n] @ self.R.T

    def linearised(self, net: Any, params: Any, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each network's own linearisation adds to P z + R y, and the part of it that stays when z changes sign."""
        n = len(self.y)
        H = np.asarray(lg.each(lg.empirical_ntk, net, params, self.X, self.X[:n], full=False, chunk=BATCH), float)
        A = np.linalg.solve(H[:, :n], H[:, n:].transpose(0, 2, 1)).transpose(0, 2, 1) - self.R
        even = A @ self.y
        return even - np.einsum("kba,ka->kb", A, z[:, :n]), even


def outputs(net: Any, params: Any, X: np.ndarray) -> np.ndarray:
    return np.asarray(lg.each(lg.apply, net, params, X, chunk=BATCH), float)[..., 0]


def without_training(limit: Limit, net: Any, key: Any, networks: int) -> np.ndarray:
    """Per network, what linearisations add to the means and to the second moments of the test points: (networks, 2, test)."""
    params = lg.init(net, limit.X.shape[1], key, networks=networks)
    z = outputs(net, params, limit.X)
    g, (beyond, even) = limit.frozen(z), limit.linearised(net, params, z)
    odd = beyond - even
    return np.stack([even, 2 * odd * g + odd**2 + even**2], 1)


def with_training(limit: Limit, net: Any, key: Any, networks: int) -> np.ndarray:
    """Per network, what training adds to its linearisation, in the means and second moments: (networks, 2, test)."""
    n, params, total = len(limit.y), lg.init(net, limit.X.shape[1], key, networks=networks), 0
    last = list(params)[-1]
    for sign in (1, -1):
        signed = {**params, last: {name: sign * value for name, value in params[last].items()}}
        z = outputs(net, signed, limit.X)
        linear = limit.frozen(z) + limit.linearised(net, signed, z)[0]  # beyond R y
        record, y = (limit.X[n:], [limit.steps]), limit.y.astype(np.float32)
        _, history = lg.each(lg.train, net, signed, limit.X[:n], y, limit.eta, limit.steps, record=record, chunk=BATCH)
        rest = np.asarray(history.outputs, float)[:, 0, :, 0] - limit.R @ limit.y - linear
        total = total + np.stack([rest, 2 * linear * rest + rest**2], 1) / 2
    return np.asarray(total)


def measured(limit: Limit, width: int, trained: int, untrained: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n times what is beyond infinite width, (2, test): all of it, linearised networks alone, and the variance of their means."""
    net, keys = network(width), jax.random.split(jax.random.key(seed))
    parts = []
    for make, key, networks in ((without_training, keys[0], untrained), (with_training, keys[1], trained)):
        size = min(BATCH, networks)
        found = [make(limit, net, k, size) for k in jax.random.split(key, -(-networks // size))]
        every = width * np.concatenate(found)
        parts.append((every.mean(0), every.var(0) / len(every)))
    (linear, one), (rest, two) = parts
    total = linear + rest
    total[1] -= total[0] ** 2 / width  # second moments about R y to variances
    linear[1] -= linear[0] ** 2 / width
    return total, linear, one + two


def theory(t: Any, X: np.ndarray, y: np.ndarray, eta: float) -> tuple[np.ndarray, np.ndarray]:
    """n times what is of order 1/n in means and variances, (2, test), without the shift of the kernel of z, which P z has itself; and
    what the printed sign of inf.157 adds to the means."""
    n, width = len(y), t.width
    net, how = network(width), {"how": "descent", "eta": eta, "steps": np.inf}
    one, zero = (lg.predict(net, X[:n], y, X[n:], order=order, covariance="full", **how) for order in (1, 0))
    inverse = np.linalg.inv(t.Theta[:n, :n])
    P = np.concatenate([-t.Theta[n:, :n] @ inverse, np.eye(len(X) - n)], 1)
    moved = t.A + t.B.transpose(0, 2, 1, 3) + t.B.transpose(0, 2, 3, 1)  # A_(d1)(23) + B_d213 + B_d312
    ntk = -np.einsum("bd,dpqr,pq,r->b", P, moved[:, :n, :n, :n], inverse, inverse @ y, optimize=True)
    variance = width * np.diagonal(one.cov - zero.cov) - np.einsum("bp,pq,bq->b", P, t.K1, P)
    return np.stack([width * (one.mean - zero.mean), variance]), -2 * ntk


@dataclass(frozen=True)
class Row:
    """One width: how strong theory's pattern is in means and variances, with standard errors, and in linearised networks alone."""

    width: int
    strength: np.ndarray
    error: np.ndarray
    linear: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """`strength` +- `error` at n = infinity, of means and variances; `ahead`: standard errors of the widest networks from the fit;
    `controls`: standard errors at which each was refused; `holds`: the claim."""

    rows: tuple[Row, ...]
    strength: np.ndarray
    error: np.ndarray
    ahead: np.ndarray
    controls: dict[str, float]
    holds: bool


def study(
    train: int = 16, test: int = 8, widths: tuple[int, ...] = WIDTHS, check: int = CHECK, trained: int = TRAINED, untrained: int = UNTRAINED
) -> Outcome:
    """Theory, real networks, the fit, the verdict."""
    X, y = digits(train, test)
    t = lg.corrections(network(widths[0]), X, tensors=("Theta", "K1", "A", "B"))
    theta = np.asarray(t.Theta)
    h = np.linalg.eigvalsh(theta[:train, :train])
    eta = 1 / h[-1]
    limit = Limit(np.linalg.solve(theta[:train, :train], theta[:train, train:]).T, y, X.astype(np.float32), eta, int(15 / (eta * h[0])))
    print(f"Theta on the train points: eigenvalues {h[0]:.3g} to {h[-1]:.3g}; {limit.steps} steps of {eta:.3g}.", flush=True)
    c, slip = theory(t, X, y, eta)
    printed = c + np.stack([slip, 0 * slip])
    rows = []
    for i, width in enumerate((*widths, check)):
        total, linear, noise = measured(limit, width, trained, untrained, i)
        pattern = c / noise / (c**2 / noise).sum(1, keepdims=True)
        rows.append(Row(width, (pattern * total).sum(1), np.sqrt((pattern**2 * noise).sum(1)), (pattern * linear).sum(1)))
        told = ", ".join(f"{q} {s:.3f} +- {e:.3f}" for q, s, e in zip(QUANTITIES, rows[-1].strength, rows[-1].error, strict=True))
        print(f"width {width:4d}: strength of theory's 1/n in {told}", flush=True)
    return judged(tuple(rows), (printed * c).sum(1) / (c**2).sum(1))


def judged(rows: tuple[Row, ...], printed: np.ndarray) -> Outcome:
    """The strengths at n = infinity by a polynomial in 1/n through all widths but the last, which is the check: of one degree less than
    would go through all points, since a quadratic from width 8 on misses width 256 in the mean by 3 standard errors."""
    inverse = np.array([rows[0].width / row.width for row in rows])
    powers = inverse[:, None] ** np.arange(len(rows) - 2)
    strength, error, ahead, linear = (np.zeros(2) for _ in range(4))
    for q in range(2):
        values, errors = (np.array([getattr(row, name)[q] for row in rows]) for name in ("strength", "error"))
        solve = np.linalg.pinv(powers[:-1] / errors[:-1, None])
        fit, spread = solve @ (values / errors)[:-1], solve @ solve.T
        strength[q], error[q] = fit[0], np.sqrt(spread[0, 0])
        ahead[q] = (values[-1] - powers[-1] @ fit) / np.sqrt(errors[-1] ** 2 + powers[-1] @ spread @ powers[-1])
        linear[q] = (solve @ (np.array([row.linear[q] for row in rows]) / errors)[:-1])[0]
    controls = {
        "no correction": float(np.abs(strength / error).max()),
        "linearised networks alone": float(np.abs((strength - linear) / error).max()),
        "the printed sign": float(abs((strength[0] - printed[0]) / error[0])),
    }
    good = np.abs((strength - 1) / error).max() < 4 and error.max() < 0.1 and np.abs(ahead).max() < 4
    return Outcome(rows, strength, error, ahead, controls, bool(good and min(controls.values()) > 6))


def figure(out: Outcome) -> go.Figure:
    """Strength against 1/n, with theory's 1 at n = infinity."""
    fig = go.Figure()
    for q, (name, colour) in enumerate(zip(QUANTITIES, ("#1f77b4", "#d62728"), strict=True)):
        x = [0.0, *(1 / row.width for row in out.rows)]
        bars = {"array": [out.error[q], *(row.error[q] for row in out.rows)], "color": colour}
        values = [out.strength[q], *(row.strength[q] for row in out.rows)]
        fig.add_scatter(x=x, y=values, error_y=bars, name=name, mode="markers", marker_color=colour)
    fig.add_hline(y=1, line_dash="dash", line_color="#444444")
    fig.update_xaxes(title_text="1/n (0: extrapolated)", rangemode="tozero")
    fig.update_yaxes(title_text="measured 1/n correction over theory's")
    return fig.update_layout(template="plotly_white", height=480)


def reported(out: Outcome) -> Outcome:
    """Say the figures."""
    for q, name in enumerate(QUANTITIES):
        print(
            f"{name}: strength at n = infinity {out.strength[q]:.3f} +- {out.error[q]:.3f}; widest networks {out.ahead[q]:+.1f} s.e. ahead."
        )
    for name, z in out.controls.items():
        print(f"Control, {name}: refused at {z:.1f} standard errors.")
    return out


def main() -> int:
    return run(__doc__, "trained_at_finite_width", lambda: reported(study()), figure)


if __name__ == "__main__":
    sys.exit(main())
