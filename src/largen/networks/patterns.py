r"""The 1/n tensors of real networks: numbers of one network whose means over networks are n times the cumulants, n = n_{L-1}.

All are averages over the last layer's weights W ~ N(0, C_W/n), given the layers before (Rao-Blackwell). With s (n,) the values that
enter the last layer and g_ab = (1/n) grad_theta [sum_j s_jb s_ja], s_b held fixed, the averages that need W exactly are

    K_12 = C_b + (C_W/n) s_1.s_2,    Theta_12 = lambda_b + (lambda_W/n) s_1.s_2 + C_W mean_j <grad s_j1, grad s_j2>    (PDLT 8.68-8.90)
    F_1324 = n C_W^2 <g_31, g_42>

with <,> = sum lambda over the parameters before; V, D, A are n times the covariances of K and Theta over networks. In the others every
row of W enters twice, so any row with E[w_j w_k] = (C_W/n) d_jk will do: we take signs times the standard deviation, which
leave no noise on the diagonal. With u.s the output of such a row u, y_a = lambda grad (u.s_a), J = D s [y], H = D^2 s [y, y]

    B_1324 = C_W sum_j J_j2[y_1] J_j4[y_3],    P_0123 = C_W s_3 . H_0[y_1, y_2],    Q_0123 = n C_W <tau_01, g_23>,
    tau_ab = lambda_W g_ab + grad (u.D s_a [y_b]),    T_1342 = n <tau_13, tau'_24>  (a second row u'),
    S_1234 = (lambda_W/C_W) B_3412 + n <grad (u.D s_1 [y'_3]), grad (u.D s_2 [y'_4])>,
    U_1423 = n <grad (u.D s_1 [y'_3]), grad (u'.D s_2 [y_4])>,
    R_0123 = (lambda_W/C_W) P_0231 + n u.D^3 s_0 [y_1, y'_2, y'_3],

one other row of W being integrated out in B, P and Q. Averages over both rows would cost n times more, and the noise of a row
is of the order that the network has anyway, 1/sqrt(n) of the mean (products of two outputs would have noise of order 1).
"""

from dataclasses import dataclass, fields
from itertools import combinations_with_replacement, permutations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from largen.architecture.nodes import Dense, Serial
from largen.architecture.paths import paths
from largen.display import Columns, Record, grid, pairs
from largen.networks.empirical import tangent_kernel
from largen.networks.higher import along, product, scaled
from largen.networks.outputs import outputs
from largen.parametrizations.table import rate_tensor
from largen.types import Array, Params

MEANS = ("K", "Theta")  # means of these over networks hold the 1/n corrections K1 and Theta1
COVARIANCES = {"V": ("K", "K"), "D": ("K", "Theta"), "A": ("Theta", "Theta")}
PATTERNS = ("F", "B", "P", "Q", "R", "S", "T", "U")
ROWS = 2  # rows of signs for a network: ordered pairs of two different ones are averaged


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class Tensors(Record):
    """What `lg.measure.tensors` returns, None for what there is not (`missing`).

    All but `K` and `Theta` are (n, n, n, n), index order as in `lg.corrections`: means over networks are n times the cumulants.

    Attributes
    ----------
    K, Theta : array (n, n)
        The metric and the NTK averaged over the last weights; their means over networks are K + K1/n and Theta + Theta1/n.
    V, D, A : array (n, n, n, n) or None
        Products of deviations from the mean of the networks of `lg.each`, without bias: None for one.
    F, B, P, Q, R, S, T, U : array (n, n, n, n) or None
        As of `lg.corrections`.
    missing : dict
        Why a field is None.
    """

    K: Array
    Theta: Any = None
    V: Any = None
    D: Any = None
    A: Any = None
    F: Any = None
    B: Any = None
    P: Any = None
    Q: Any = None
    R: Any = None
    S: Any = None
    T: Any = None
    U: Any = None

    def _columns(self) -> Columns:
        return grid(("i", "j"), K=self.K, Theta=self.Theta, **{name: pairs(getattr(self, name)) for name in ("V", "D", "F", "A", "B")})

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        alone = self.K.ndim == 2 or len(self.K) < 2
        why = {name: "a covariance over networks: lg.each(lg.measure.tensors, ...) of two or more" for name in COVARIANCES if alone}
        return {part.name: why.get(part.name, "not asked for") for part in fields(self) if getattr(self, part.name) is None}


def tensors(net: Serial, params: Params, X: Any, rates: Any, wanted: tuple[str, ...]) -> Tensors:
    """The pure core of `tensors` for one network: `K`, `Theta` and the patterns that are wanted; `rates` {path: pair}."""
    *front, last = net.nodes
    assert isinstance(last, Dense)
    body, path = Serial(tuple(front)), [path for path, _ in paths(net)][-1]
    theta = {name: entry for name, entry in params.items() if name != path}
    tensor = {name: entry for name, entry in rate_tensor(net, X.shape[1:], rates).items() if name != path}
    bias, w = rates[path]

    def values(p: Params) -> jax.Array:
        return outputs(body, p, X)

    s, back = jax.vjp(values, theta)
    points, n = s.shape
    C_W, second = jnp.asarray(last.C_W, s.dtype), s @ s.T / n
    found: dict[str, Any] = {"K": last.C_b + C_W * second}
    if set(wanted) & {"Theta", "Theta1", "D", "A"}:
        found["Theta"] = bias + w * second + C_W * tangent_kernel(body, theta, X, None, tensor, full=False)
    if not set(wanted) & set(PATTERNS):
        return Tensors(**found)
    at = jnp.eye(points, dtype=s.dtype)[:, :, None]  # a cotangent at one point

    def gradient(cotangent: jax.Array) -> Params:
        return back(cotangent)[0]

    u = rows(params[path]["W"], C_W)
    g = jax.vmap(lambda here: jax.vmap(lambda held: gradient(here * held / n))(s))(at)  # g[a, b]
    y = scaled(tensor, jax.vmap(lambda row: jax.vmap(lambda here: gradient(here * row))(at))(u))  # y[row, a]
    if "F" in wanted:
        found["F"] = n * C_W**2 * product(tensor, g, g, 2).transpose(1, 0, 3, 2)
    if set(wanted) & {"B", "S"}:
        J = jax.vmap(jax.vmap(lambda one: along(values, theta, one)))(y)  # J[row, y, a]
        B = C_W * jnp.einsum("raxj,rbyj->abxy", J, J) / len(u)
        found["B"] = (B + B.transpose(2, 3, 0, 1)) / 2
    if set(wanted) & {"P", "R"}:
        H = jax.vmap(lambda one: _both(lambda a, b: along(values, theta, a, b), one, points))(y)  # H[row, y, y, a]
        found["P"] = C_W * jnp.einsum("rbcaj,dj->abcd", H, s) / len(u)
    if set(wanted) & {"Q", "S", "T", "U"}:
        m = _turns(values, theta, u[:, None, None] * at, y)  # m[u, y of, a, b]
        tau = [jax.tree_util.tree_map(lambda a, b, i=i: w * a + b[i, i], g, m) for i in range(len(u))]
        found["Q"] = n * C_W * sum(product(tensor, one, g, 2) for one in tau) / len(u)
        found["T"] = n * _over_pairs(lambda i, k: product(tensor, tau[i], tau[k], 2)).transpose(0, 1, 3, 2)
    if "S" in wanted:
        J_J = jnp.einsum("raxj,rbyj->xyab", J, J) / len(u)
        found["S"] = w * J_J + n * _over_pairs(lambda i, k: product(tensor, _of(m, i, k), _of(m, i, k), 2)).transpose(0, 2, 1, 3)
    if "U" in wanted:
        found["U"] = n * _over_pairs(lambda i, k: product(tensor, _of(m, i, k), _of(m, k, i), 2)).transpose(0, 3, 2, 1)
    if "R" in wanted:

        def thirds(i: int, k: int) -> jax.Array:
            def of(one: Params) -> jax.Array:
                return _both(lambda a, b: along(values, theta, one, a, b) @ u[i], _of(y, k), points)

            return jax.vmap(of)(_of(y, i)).transpose(3, 0, 1, 2)

        found["R"] = w * jnp.einsum("rbcaj,dj->adbc", H, s) / len(u) + n * _over_pairs(thirds)
    return Tensors(**{name: value for name, value in found.items() if name in (*MEANS, *wanted)})


def rows(W: Any, C_W: Any) -> jax.Array:
    """Rows of signs times sqrt(C_W/n), (ROWS, n), independent and as random as the weights W (n, o): the first binary digits of the
    probability below each weight, output after output. One Gaussian number has many such digits, so one output is enough."""
    size = jnp.sqrt(C_W / len(W))
    u = ndtr(W.T / jnp.where(size > 0, size, 1))
    digits = jnp.concatenate([jnp.floor(u * 2**k) % 2 for k in range(1, ROWS + 1)])
    return size * (2 * digits[:ROWS] - 1)


def _of(tree: Params, *index: int) -> Params:
    return jax.tree_util.tree_map(lambda a: a[index], tree)


def _over_pairs(value: Any) -> jax.Array:
    """The mean over ordered pairs of different rows."""
    return jnp.stack([value(i, k) for i, k in permutations(range(ROWS), 2)]).mean(0)


def _both(value: Any, y: Params, points: int) -> jax.Array:
    """A symmetric function of two directions, for all pairs: every unordered pair computed once."""
    a, b = np.array(list(combinations_with_replacement(range(points), 2))).T
    place = np.zeros((points, points), int)
    place[a, b] = place[b, a] = np.arange(len(a))
    one, two = (jax.tree_util.tree_map(lambda leaf, i=i: leaf[i], y) for i in (a, b))
    return jax.vmap(value)(one, two)[place]


def _turns(values: Any, theta: Params, cotangents: jax.Array, y: Params) -> Params:
    """m[i, k, a, b] = grad (u_i.D s_a [y_kb])."""

    def turn(one: Params) -> Params:
        pull = jax.vjp(lambda p: along(values, p, one), theta)[1]
        return jax.vmap(jax.vmap(lambda cotangent: pull(cotangent)[0]))(cotangents)

    return jax.tree_util.tree_map(lambda m: jnp.moveaxis(m, (0, 1), (1, 3)), jax.vmap(jax.vmap(turn))(y))
