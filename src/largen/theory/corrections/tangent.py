r"""One step of the 1/n recursions of the NTK, its fluctuations, dNTK and ddNTKs over a plain chain, without an inverse kernel
(PDLT 8.63-8.97, 11.49-11.52, inf.172-176).

Stein's lemma turns <z_a f> K^{-1} X into <df/dz_a> X_a, and a is one of the inputs that f depends on. So with r = n_l/n_{l-1}

    (J X)_12 = (1/2) sum_ab <d_a d_b (s1 s2)> X_ab,     J' likewise of s'1 s'2,     J_Om = lambda_W J + C_W Theta_12 J',

what enters through the metric is r J V J and the like, and what enters through preactivations in a product s^(i)_u s^(j)_v is a sum
over F_u and F_v. Arrays have the inputs as axes, so that one input is the same code under `scan`. With a kink the
explicit s'' of dNTKs is that of automatic differentiation, 0 for the ReLU family; deltas in derivatives of expectations stay.
"""

from dataclasses import dataclass, fields
from typing import Any

import jax
import numpy as np

from largen.theory.corrections.contract import grid, second, shift
from largen.theory.corrections.quartets import Quartets

TOP = {1: ("Theta", "Theta1", "D", "F", "A", "B"), 2: ("P", "Q"), 3: ("R", "S", "T", "U")}  # by the highest derivative of s in them
PAIRS = ("Theta", "Theta1")  # have two inputs; the others four


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tangent:
    """The tensors of one layer that belong to its NTK, indices in the order printed: F_1324, B_1324, P_0123, Q_0123, R_0123, S_1234,
    T_1342, U_1423. All but `Theta` multiply 1/n_{l-1}; zero where they were not asked for."""

    Theta: Any
    Theta1: Any
    D: Any
    F: Any
    A: Any
    B: Any
    P: Any
    Q: Any
    R: Any
    S: Any
    T: Any
    U: Any


def first_layer(Theta: Any) -> Tangent:
    """Of the first layer, whose NTK (n, n) does not fluctuate."""
    four = 0.0 * Theta[:, :, None, None] * Theta
    return Tangent(Theta, 0.0 * Theta, *(four,) * (len(fields(Tangent)) - 2))


@dataclass(frozen=True)
class Hyper:
    """Of the next layer: C_W, the rates lambda_b and lambda_W, and r = n_l/n_{l-1}."""

    C: Any
    lb: Any
    lw: Any
    r: Any


class _At:
    """What the tensors of one layer are made of: moments as functions of grids of inputs, and F carried along products."""

    def __init__(self, x: Tangent, m: Any, X: Quartets, explicit: Any) -> None:
        self.x, self.m, self.X, self.H, self.explicit = x, m, X, x.Theta, explicit
        self.grid = tuple(np.ogrid[tuple(slice(len(m)) for _ in range(4))])

    def pair(self, i: int, j: int, u: Any, v: Any) -> Any:
        """<s^(i)_u s^(j)_v>."""
        return self.m[u, v, i, j]

    def own(self, part: int, u: Any, v: Any) -> Any:
        """<s2_u s_v>, <s3_u s1_v> or <s2_u s2_v> (digits for primes), the first s2 that of the network itself."""
        return self.m[u, v, 2 + part % 2, part] if self.explicit is None else self.explicit[u, v, part]

    def ways(self, i: int, j: int, u: Any, v: Any) -> tuple[tuple[Any, Any], ...]:
        """(<d_g (s^(i)_u s^(j)_v)>, g) for g of {u, v}; i = 2, j = 1 are the network's own."""
        if (i, j) == (2, 1):
            return (self.own(1, u, v), u), (self.own(2, u, v), v)
        return (self.pair(i + 1, j, u, v), u), (self.pair(i, j + 1, u, v), v)

    def carried(self, i: int, j: int, u: Any, v: Any, w: Any, x: Any, k: int, l: int, y: Any, z: Any) -> Any:
        """sum over g of {u, v}, h of {y, z} of <d_g (s^(i)_u s^(j)_v)> <d_h (s^(k)_y s^(l)_z)> F_{g w h x}."""
        return sum(p * q * self.x.F[g, w, h, x] for p, g in self.ways(i, j, u, v) for q, h in self.ways(k, l, y, z))


def advance(x: Tangent, V: Any, K1: Any, m: Any, X: Quartets, by: Hyper, top: int, explicit: Any = None) -> Tangent:
    """The tensors of the next layer from those of layer l, `V` and `K1` of layer l, and the moments `m` (n, n, 6, 6) and `X` there.
    `top`: the tensors of `TOP` up to it; second derivatives that X lacks count as 0. `explicit`: as in `Moments`."""
    at = _At(x, m, X, explicit)
    a, b, c, d = at.grid
    F = at.X[0, 0, 1, 1][a, c, b, d] * at.H[b, d] + by.r * at.carried(0, 1, a, b, b, d, 0, 1, c, d)  # over C_W^2
    new = {**_ntk(at, V, K1, by), "F": by.C**2 * F}
    if top >= 2:
        new |= _first_differential(at, F, by)
    if top >= 3:
        new |= _second_differential(at, by)
    return Tangent(**{f.name: new[f.name] if f.name in new else getattr(x, f.name) for f in fields(Tangent)})


def _ntk(at: _At, V: Any, K1: Any, by: Hyper) -> dict[str, Any]:
    """Theta, its shift, and its cumulants with itself and with preactivations."""
    x, m, X, H, C, lw, r = at.x, at.m, at.X, at.H, by.C, by.lw, by.r
    a, b, c, d = at.grid
    i, j = grid(len(m))
    slopes = m[:, :, 1:, 1:]
    G, s = m[:, :, 0, 0], slopes[:, :, 0, 0]
    first, last = (lambda Y: Y[:, :, None, None]), (lambda Y: Y[None, None])

    def both(Y: Any) -> Any:  # J_Om
        return lw * second(m, Y) + C * first(H) * second(slopes, Y)

    def swap(Y: Any) -> Any:
        return Y.transpose(2, 3, 0, 1)

    values = X[0, 0, 0, 0] - first(G) * last(G)
    mixed = last(H) * (X[0, 0, 1, 1] - first(G) * last(s))
    own = first(H) * last(H) * (X[1, 1, 1, 1] - first(s) * last(s))
    metric = second(m, V)
    D = C * (lw * values + C * mixed) + r * C * (swap(both(swap(metric))) + C * second(m, x.D) * last(s))
    through = both(x.D) * last(s)
    A = lw**2 * values + lw * C * (mixed + swap(mixed)) + C**2 * own
    A = A + r * (swap(both(swap(both(V)))) + C**2 * first(s) * last(s) * x.A + C * (through + swap(through)))
    B = C**2 * (X[1, 1, 1, 1] * H[a, c] * H[b, d] + r * s[a, b] * s[c, d] * x.B)
    bent = m[:, :, 3, 1] * (x.D[i, i, i, j] / 2 + x.F[i, i, i, j]) + m[:, :, 1, 3] * (x.D[j, j, i, j] / 2 + x.F[j, i, j, j])
    bent = bent + m[:, :, 2, 2] * (x.D[i, j, i, j] + x.F[i, i, j, j] + x.F[j, i, i, j])
    Theta1 = r * (lw * shift(m, K1, V) + C * (shift(slopes, K1, V) * H + s * x.Theta1 + bent))
    return {"Theta": by.lb + lw * G + C * s * H, "Theta1": Theta1, "D": D, "A": A, "B": B}


def _first_differential(at: _At, F: Any, by: Hyper) -> dict[str, Any]:
    """P and Q; `F` is that of the next layer over C_W^2."""
    x, H, p, C, lw, r = at.x, at.H, at.pair, by.C, by.lw, by.r
    a, b, c, d = at.grid
    P = r * C**2 * p(1, 1, b, c) * (p(2, 0, a, d) * x.P[a, b, c, a] + p(1, 1, a, d) * x.P)
    Q = r * C**2 * p(1, 1, a, b) * (p(2, 0, c, d) * x.Q[a, b, c, c] + p(1, 1, c, d) * x.Q)
    if (2, 1, 1, 0) in at.X:
        bent = C**2 * at.X[2, 1, 1, 0] * H[a, b] * H[a, c]
        P = P + bent + r * C**2 * p(1, 1, b, c) * at.own(0, a, d) * x.B[a, a, b, c]
        Q = Q + bent + r * C**2 * H[a, b] * at.carried(2, 1, a, b, a, c, 1, 0, c, d)
    return {"P": P, "Q": Q + lw * C * F[b, a, d, c]}


def _second_differential(at: _At, by: Hyper) -> dict[str, Any]:
    """R, S, T and U."""
    x, X, H, p, C, lw, r = at.x, at.X, at.H, at.pair, by.C, by.lw, by.r
    a, b, c, d = at.grid
    fed, far = x.B[a, a, c, d] + x.P[a, c, d, a], x.P[a, c, d, b]
    R = C * lw * (X[2, 1, 1, 0][a, c, d, b] * H[a, c] * H[a, d] + r * p(1, 1, c, d) * (p(2, 0, a, b) * fed + p(1, 1, a, b) * far))
    R = R + C**2 * (X[3, 1, 1, 1] * H[a, b] * H[a, c] * H[a, d] + r * p(1, 1, c, d) * p(1, 1, a, b) * x.R)
    R = R + C**2 * r * p(1, 1, c, d) * H[a, b] * (p(3, 1, a, b) * fed + p(2, 2, a, b) * far)
    S = C * lw * (X[1, 1, 1, 1] * H[a, c] * H[b, d] + r * p(1, 1, c, d) * p(1, 1, a, b) * x.B)
    S = S + C**2 * X[2, 2, 1, 1] * H[a, b] * H[a, c] * H[b, d]
    S = S + C**2 * r * p(1, 1, c, d) * (H[a, b] * p(2, 2, a, b) * x.B + p(1, 1, a, b) * x.S)
    # T_1342: a, b, c, d are 1, 3, 4, 2; what has a mirror image under 1 <-> 2, 3 <-> 4 is written once
    half = C * lw * X[2, 1, 1, 0][d, a, c, b] * H[d, a] * H[d, c]
    half = half + r * C * lw * H[d, c] * at.carried(1, 0, a, b, a, d, 2, 1, d, c)
    half = half + r * C * lw * p(1, 1, d, c) * (p(2, 0, a, b) * x.Q[d, c, a, a] + p(1, 1, a, b) * x.Q[d, c, a, b])
    half = half + r * C**2 * H[d, c] * p(1, 1, a, b) * (p(3, 1, d, c) * x.Q[a, b, d, d] + p(2, 2, d, c) * x.Q[a, b, d, c])
    T = lw**2 * (X[0, 0, 1, 1][b, c, a, d] * H[a, d] + r * at.carried(1, 0, a, b, a, d, 1, 0, d, c)) + half + half.transpose(3, 2, 1, 0)
    T = T + C**2 * (X[2, 2, 1, 1][a, d, b, c] * H[a, d] * H[a, b] * H[d, c] + r * p(1, 1, a, b) * p(1, 1, d, c) * x.T)
    T = T + C**2 * r * H[a, b] * H[d, c] * at.carried(2, 1, a, b, a, d, 2, 1, d, c)
    # U_1423: a, b, c, d are 1, 4, 2, 3
    U = C**2 * (X[2, 2, 1, 1][a, c, d, b] * H[a, c] * H[a, d] * H[c, b] + r * p(1, 1, a, b) * p(1, 1, c, d) * x.U)
    return {"R": R, "S": S, "T": T, "U": U}
