"""`lg.check`: what theory says of a network held against real networks of several widths, with a verdict per claim."""

import sys
import time as clock
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from largen import door, exits
from largen.agreement.kernels import check_kernels, labels
from largen.agreement.records import Check
from largen.agreement.setting import Setting
from largen.agreement.signals import check_signal
from largen.agreement.tensors import check_tensors
from largen.agreement.training import check_training
from largen.agreement.widths import WIDTHS, nearest, widened
from largen.architecture.branches import Dropout
from largen.architecture.nodes import Node, Serial, network
from largen.architecture.paths import everything
from largen.architecture.spatial import outputs_of
from largen.errors import InputError, UnsupportedError, shown
from largen.parametrizations.rates import resolve
from largen.theory.signal.signal import require_rules

NETWORKS = {"training": 1000, "kernels": 10_000, "signal": 10_000, "tensors": 10_000}  # per width
ONLY = {"time": ("training",), "X_test": ("training",), "tensors": ("tensors",), "rates": ("training", "kernels", "tensors")}
UNTRAINED = dict.fromkeys(("time", "eta", "steps", "test"), 'only networks of what="training" are trained')
NONE = {
    "training": {"theory": "lg.kernel and lg.predict give it"},
    "kernels": {"theory": 'lg.kernel(net, X, layer="all") gives it'},
    "signal": {},
    "tensors": {},
}


@exits.finite()
def check(
    net: Any,
    X: Any,
    y: Any = None,
    *,
    what: str = "training",
    widths: Sequence[int] | None = None,
    networks: int | Sequence[int] | None = None,
    key: Any = None,
    rates: Any = "ntk",
    theory: Any = None,
    time: float | None = None,
    X_test: Any = None,
    tensors: Iterable[str] | None = None,
    progress: bool = False,
) -> Check:
    """Hold theory against real networks of several widths: a claim with a verdict for every quantity.

    | `what` | looked at | controls |
    |---|---|---|
    | "training" | kernels and NTK at initialisation; mean and covariance of trained outputs | C_W + 10 %; rates; Bayes |
    | "kernels" | kernels and NTK of untrained networks | C_W + 10 %; rates |
    | "signal" | `lg.signal`: K, c, chi_par, chi_perp and gradient of every level | C_W + 10 %; chi; of c, the next level |
    | "tensors" | `lg.corrections`, the `tensors` named | C_W + 10 %; rates |

    The kernels are those of every layer of a plain chain, and of the outputs of other networks: residual, normalised, convolutional ones.

    Controls are wrong theories on the same data: C_W larger in every layer, lambda_b and lambda_W swapped, the Bayesian posterior in place
    of training, chi_par and chi_perp swapped (in the gradient too). Training is by full-batch descent on (X, y), held against theory at the
    same finite time. A signal is compared as vectors over points or pairs, chi of level l leads to l + 1.

    Networks of the architecture `net` are drawn at each of `widths`, in float32. Each quantity is projected onto theory and on a few more
    directions fixed by theory alone, averaged over networks, and extrapolated by m(n) = a + b/n + c/n^2. What the next order, which is not
    fitted, can do counts as an error: s^3, with s the relative deviation at the smallest width, or what a fit of one order less, without
    that width, would have changed beyond noise, whichever is more. Tensors are fitted by a + b/n too, with s^2 for the next order, where
    that knows a better.

    Where the activation has kinks, trained quantities are extrapolated by a + b/sqrt(n) + c/n: training carries neurons over the
    kink, but not equally often both ways (a neuron that is off at a point is not pulled by it), and that changes the NTK by order
    1/sqrt(n): measured, for one hidden layer, its trace by -0.63 %, -0.26 %, -0.12 % at n = 256, 1024, 4096 with ReLU, and by
    -0.90 %, -0.25 %, -0.06 % with tanh. So kinks ask for wider or more networks.

    A claim agrees if

    - a is within 4 standard errors of theory in every direction, and known to 3 % of the quantity's scale;
    - the deviation falls as n^-p with 1 in the interval of p (4 standard errors) and its neighbours 0 and 2 outside, wherever
      there is a deviation to be seen (the mean of a ReLU kernel's diagonal has none; one network's squared deviation and a
      cumulant always have);
    - controls are refused at more than 6 standard errors.

    It disagrees if a direction is 4 or more standard errors off or the power is another; else it is undecided, and `.needed` says
    how many networks would decide. "training" takes about 20 s on two cores for ten points and the default widths.

    Parameters
    ----------
    net : architecture
        Whose theory is asked: of "training" and "kernels" any with a kernel and without dropout, of "tensors" a chain, of
        "signal" any with a signal.
    X : array (n, features), or of images (n, height, width, channels)
        Points.
    y : array (n,) or (n, o), optional
        Targets: needed for "training", looked at there alone.
    what : str
        "training", "kernels", "signal" or "tensors".
    widths : sequence of int, optional
        Four or more over a factor of 8 or more, of the first hidden layer; the others in proportion. None for 8, 16, 32, 64, or the nearest
        to them at which all hidden widths are whole.
    networks : int or sequence of int, optional
        How many, a number or one per width; None for 10,000, of "training" 1,000 and 32 times as many that are looked at untrained.
    key : JAX random key, optional
        What networks are drawn from; None for `jax.random.key(0)`.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.kernel`.
    theory : architecture or callable, optional
        Another theory, to see a wrong one refused: a network to ask about instead of `net`, or, for "signal" and "tensors", a function
        (net, X) that returns the record of `lg.signal` or `lg.corrections`.
    time : float, optional
        Of "training": eta x steps, for the loss (1/2) sum over samples and outputs. None: when theory's mean has 5 % of its loss left, at
        most 400 steps; infinity on at most 16 train points. Theory is evaluated for the same steps (how="descent"), so that nothing is left
        to discretisation.
    X_test : array (m, ...), optional
        Of "training": where trained outputs are compared; None holds the last quarter of X out (of fewer than four points: compares on X
        itself).
    tensors : iterable of str, optional
        Of "tensors": names out of K1, Theta1, V, D, A, F, B, P, Q, R, S, T, U, default K1 and V.
    progress : bool
        Whether a line per width is printed to stderr.

    Returns
    -------
    Check
        With a `Claim` per quantity in `.claims` (and `Entries` per tensor in `.entries`).

    Raises
    ------
    InputError
        For fewer than four widths or less than a factor of 8 between them, for widths that are not in proportion, for no hidden layer, for
        options of another `what`, and for what does not fit.
    UnsupportedError
        As the theory that is asked; for dropout, whose masks are not drawn.

    References
    ----------
    PDLT 4.118, 8.63 (kernels), 10.40, 10.41 (trained outputs), 4.76 (fluctuations of order 1/n), 5.46-5.51, 5.54 (signals),
    4.70-4.77, 4.104, 8.67-8.90, 11.45, inf.11-12 (tensors).

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> X, y = np.array([[1.0, 0.2], [-0.5, 1.0], [0.3, -1.2]]), np.array([1.0, -1.0, 0.5])
    >>> net = lg.mlp(widths=[8], out=1, activation="erf", C_W=1.5, C_b=0.1)
    >>> [claim.name for claim in lg.check(net, X, y, networks=50, X_test=np.array([[0.7, 0.7]])).claims]
    ['kernel 1', 'kernel 2', 'NTK', 'trained mean', 'trained covariance']
    >>> [claim.name for claim in lg.check(net, X, what="signal", networks=50).claims if claim.quantity != "gradient"]
    ['K 1', 'K 2', 'c 1', 'c 2', 'chi_par 1', 'chi_perp 1']
    >>> lg.check(net, X[:1], what="tensors", networks=200).entries["V"].value.shape
    (1, 1, 1, 1)
    """
    began = clock.perf_counter()
    door.choice(what, "what", tuple(NETWORKS))
    _refuse(
        {"time": time, "X_test": X_test, "tensors": tensors, "rates": None if isinstance(rates, str) and rates == "ntk" else rates}, what
    )
    whole = network(net)
    told = theory if callable(theory) and not isinstance(theory, Node) else None
    asked = whole if theory is None or told is not None else network(theory, "theory")
    if what == "signal":
        require_rules(whole)
    pictures = what in ("training", "kernels")
    for path, part in everything(whole) if pictures else ():
        if isinstance(part, Dropout):
            raise UnsupportedError(repr(part), path, "lg.check", "real networks are measured without masks")
    x = door.host((door.inputs if pictures else door.points)(X), "X")
    real = widened(whole, nearest(whole, WIDTHS) if widths is None else widths)
    if pictures:
        wanted = outputs_of(whole, x.shape[1:], "X")
        if told is not None or labels(asked) != labels(whole) or outputs_of(asked, x.shape[1:], "X") != wanted:
            raise InputError("theory", shown(theory), "a network of the same depth and outputs as `net`")
    need = "a whole number >= 20, or one per width"
    given = NETWORKS[what] if networks is None else networks
    each = isinstance(given, (list, tuple)) or getattr(given, "ndim", 0)
    many = door.counts(given, "networks", need, 20) if each else (door.count(given, "networks", low=20),) * len(real)
    if len(many) != len(real):
        raise InputError("networks", f"{len(many)} of them", need)
    root = door.key(jax.random.key(0) if key is None else key)
    keys = tuple(jax.random.fold_in(root, i) for i in range(len(real)))

    loud = door.flag(progress, "progress")

    def tell(width: int) -> None:
        if loud:
            print(f"lg.check: width {width} measured after {clock.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)

    s = Setting(whole, asked, told, real, many, keys, x, _rates(whole, rates), tell)
    if what == "training":
        found = check_training(s, y, time, X_test)
    elif what == "tensors":
        found = check_tensors(s, ("K1", "V") if tensors is None else tensors)
    else:
        found = (check_kernels if what == "kernels" else check_signal)(s)
    missing = NONE[what] | ({} if what == "training" else UNTRAINED)
    code, common = repr(next(iter(real.values()))), {"networks": many, "points": len(x)}
    return Check(what=what, widths=tuple(real), net=code, seconds=clock.perf_counter() - began, missing=missing, **(common | found))


def _refuse(options: dict[str, Any], what: str) -> None:
    """Refuse options that another `what` takes."""
    for name, value in options.items():
        if value is not None and what not in ONLY[name]:
            takes = " or ".join(f'what="{one}"' for one in ONLY[name])
            raise InputError(name, shown(value), f'no {name} with what="{what}"', f"It is for {takes}.")


def _rates(net: Serial, rates: Any) -> Any:
    """The rates of the real networks, which are those of `net`, whatever theory is asked about."""
    found = resolve(net, rates)
    return tuple(map(list, zip(*found.values(), strict=True))) if isinstance(rates, str) else rates
