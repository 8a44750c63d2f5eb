r"""How long backpropagated gradients are in a finite network: exact in the width for scale-invariant activations.

With v^(l) = dz^(L)_i/dz^(l), v^(l) = D^(l) W^(l+1)' v^(l+1), D^(l)_j = phi'(z^(l)_j) in {a+, a-}. Conditional on the layers below
l, the sign of z_j^(l) is a fair coin that says in which half space row j of W^(l) lies. The entries of s = W^(l+1)' v^(l+1) have
symmetric, independent signs, and sum_j w_j D_j s_j reads row j times the sign of s_j: Gaussian on the whole space, independent of
D_j. So, from the top down, s is Gaussian N(0, C_W |v^(l+1)|^2/n_l), independent of D and of everything below, and

    |v^(l)|^2 = |v^(l+1)|^2 C_W (1/n_l) sum_j D_j^2 h_j^2,      h_j ~ N(0, 1), D_j^2 = a+^2 or a-^2 with probability 1/2 each:

in law the factor C_W A2 X that signals gain in the same layer (theory/exact/factors.py), biases or not, whatever the input.
At criticality (C_W A2 = 1), to leading order in S = sum_{l<=l'<L} c/n_{l'}:

    E|v|^2 = 1 exactly,     E|v| = exp(-S/8),     median and exp E log|v| = exp(-S/4),     Var log|v| = S/4.

For several outputs the Gram matrix of the v_i follows a Wishart-like chain in which E (tr)^2 and E tr()^2 close.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.activations.dual import moment
from largen.architecture.chain import Layer
from largen.display import Columns, Record, grid
from largen.errors import InputError
from largen.theory.exact.factors import Slopes, concrete_chain, excess, factor, second_moment, slopes
from largen.types import Array, island

NAME = "the law of gradient norms"


@dataclass(frozen=True, repr=False, kw_only=True)
class GradientLaw(Record):
    """What `lg.exact.gradient_law` returns: statistics of |dz^(L)_i/dz^(l)|, the Euclidean norm over the units of layer l, for l = 1..L.

    `mean` is about sqrt(mean_square) exp(-S/8), `typical` sqrt(mean_square) exp(-S/4), S the `ratio`.

    Attributes
    ----------
    mean_square : array (L,) or (L, n)
        E|v|^2, so its root is the r.m.s. norm.
    how : str
        "exact" at any width, arrays (L,), the same for every input; or "leading order" in 1/n, where `mean_square` (L, n) is all there is.
    mean : array (L,) or None
        E|v|.
    typical : array (L,) or None
        exp E log|v| among networks whose gradient is not exactly 0, the median up to relative order 1/n.
    log_variance : array (L,) or None
        Var log|v| among those.
    dead : array (L,) or None
        The probability of 0.
    square_variance : array (L,) or None
        Var |v|^2 for one output.
    total_variance : array (L,) or None
        Var of the mean of |v|^2 over all n_L outputs.
    ratio : array (L,) or None
        S = sum_{l<=l'<L} c/n_{l'}.
    missing : dict
        Why a field is None.
    """

    mean_square: Array
    how: str
    mean: np.ndarray | None = None
    typical: np.ndarray | None = None
    log_variance: np.ndarray | None = None
    dead: np.ndarray | None = None
    square_variance: np.ndarray | None = None
    total_variance: np.ndarray | None = None
    ratio: np.ndarray | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def _columns(self) -> Columns:
        names = ("mean_square", "mean", "typical", "log_variance", "dead", "square_variance", "total_variance", "ratio")
        return grid(("layer", "point"), **{name: getattr(self, name) for name in names})


@exits.finite()
def gradient_law(net: Any, X: Any = None) -> GradientLaw:
    """The norm of backpropagated gradients at initialisation, dz^(L)_i/dz^(l) over the units of each layer, at finite width.

    - Networks of scale-invariant activations (linear, relu, leaky_relu, abs), any widths, C_W and C_b: exact, a product of independent
      factors C_W A2 X_{l'} over l <= l' < L. Critical with equal widths n: r.m.s. 1 at any depth, mean exp(-c (L-l)/(8n)), typical
      exp(-c (L-l)/(4n)), with c = 3 A4/A2^2 - 1 (ReLU 5): so gradients are typically vanishing when L >> n, and a wider network cures it.
    - Other activations: E|v|^2 = prod C_W E[phi'(z)^2] to leading order; corrections of relative order L/n and everything that needs
      fluctuations are not included.

    Parameters
    ----------
    net : architecture
        A plain chain.
    X : array (n, features), optional
        Inputs, for activations that are not scale-invariant.

    Returns
    -------
    GradientLaw
        Statistics (L,), or to leading order (L, n).

    Raises
    ------
    UnsupportedError
        For networks that are no plain chain.
    InputError
        For X missing where it is needed.

    References
    ----------
    PDLT 5.54 (leading order); the exact law is derived in this module's docstring, in the line of Hanin and Nica (2020).

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> law = lg.exact.gradient_law(lg.mlp(widths=[16] * 30, out=1, activation="relu", C="critical"))
    >>> float(law.mean_square[0]), float(law.mean[0]), float(law.typical[0])  # S = 5 x 30/16
    (1.0, 0.296, 0.0709)
    >>> wide = lg.exact.gradient_law(lg.mlp(widths=[256] * 30, out=1, activation="relu", C="critical"))
    >>> float(wide.typical[0]), float(np.exp(-wide.ratio[0] / 4))
    (0.863, 0.864)
    """
    layers = concrete_chain(net, NAME)
    pairs = [slopes(layer.activation) for layer in layers[1:]]
    known = [pair for pair in pairs if pair is not None]
    return _exact(layers, known) if len(known) == len(pairs) else _leading(layers, X)


def _exact(layers: tuple[Layer, ...], pairs: list[Slopes]) -> GradientLaw:
    widths = [layer.width for layer in layers]
    found = [factor(pair, n) for pair, n in zip(pairs, widths, strict=False)]
    gains = np.array([layer.C_W * second_moment(pair) for layer, pair in zip(layers[1:], pairs, strict=True)])
    squares = [1 + excess(pair) / n for pair, n in zip(pairs, widths, strict=False)]
    mean_square = _upward(np.multiply, 1.0, gains)
    return GradientLaw(
        mean_square=mean_square,
        how="exact",
        mean=_upward(np.multiply, 1.0, np.sqrt(gains) * [f.root for f in found]),
        typical=np.exp(_upward(np.add, 0.0, np.log(gains) / 2 + [f.log_mean / 2 for f in found])),
        log_variance=_upward(np.add, 0.0, np.array([f.log_variance / 4 for f in found])),
        dead=0.0 - np.expm1(_upward(np.add, 0.0, np.log1p([-f.dead for f in found]))),
        square_variance=(_upward(np.multiply, 1.0, np.array(squares)) - 1) * mean_square**2,
        total_variance=_total(widths, pairs) * mean_square**2,
        ratio=_upward(np.add, 0.0, np.array([excess(pair) / n for pair, n in zip(pairs, widths, strict=False)])),
    )


def _upward(combine: Any, last: float, steps: np.ndarray) -> np.ndarray:
    """The combination of the steps from each layer up to the last one, (L,)."""
    return combine.accumulate(np.array([last, *steps[::-1]]))[::-1]


def _total(widths: list[int], pairs: list[Slopes]) -> np.ndarray:
    """Var of (1/n_L) sum_i |v_i|^2 over the square of its mean, from the Gram matrix Q of the v_i: with f = A4/(n A2^2),

    E (tr Q)^2 -> (1 - 1/n + f) (tr Q)^2 + 2 f tr Q^2,      E tr Q^2 -> (1 - 1/n + 2 f) tr Q^2 + f (tr Q)^2.
    """
    out = widths[-1]
    state, kept = np.array([float(out) ** 2, float(out)]), [0.0]
    for n, pair in list(zip(widths, pairs, strict=False))[::-1]:
        f = (excess(pair) + 1) / (3 * n)
        state = np.array([[1 - 1 / n + f, 2 * f], [f, 1 - 1 / n + 2 * f]]) @ state
        kept.append(state[0] / out**2 - 1)
    return np.array(kept[::-1])


def _leading(layers: tuple[Layer, ...], X: Any) -> GradientLaw:
    if X is None:
        raise InputError("X", "nothing", "inputs (n, features): only scale-invariant activations have one law for all inputs")
    x = door.points(X)
    with island():
        K = layers[0].C_b + layers[0].C_W * (jnp.asarray(x, float) ** 2).mean(1)
        chi = []
        for layer in layers[1:]:
            assert layer.activation is not None
            chi.append(layer.C_W * moment(layer.activation, K, 1))
            K = layer.C_b + layer.C_W * moment(layer.activation, K, 0)
        kept = np.cumprod([np.ones(len(x)), *(np.asarray(c) for c in chi[::-1])], axis=0)[::-1]
    why = "no exact law: only scale-invariant activations have one"
    absent = ("mean", "typical", "log_variance", "dead", "square_variance", "total_variance", "ratio")
    return GradientLaw(mean_square=kept.astype(x.dtype), how="leading order", missing=dict.fromkeys(absent, why))
