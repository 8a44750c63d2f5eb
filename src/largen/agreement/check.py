"""`lg.check`: what theory says of a network held against real networks of several widths, with a verdict per claim."""

import sys
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from largen import door, exits
from largen.agreement import measure
from largen.agreement.claims import KINKED, SMOOTH, Claim, claim
from largen.agreement.forecast import Question, forecast
from largen.agreement.table import Judged, verdict_of
from largen.agreement.widths import require_room, widened
from largen.architecture.chain import chain, plain
from largen.architecture.nodes import Serial, network
from largen.errors import InputError, shown
from largen.networks.parameters import a_key
from largen.scaling.rates import resolve
from largen.theory.kernels import kernel

INITIAL = 32  # networks looked at untrained, for each one trained: they cost almost nothing
STEPS, LAST = 400, 20_000  # most steps of training at the default time, and at any time
FEW = 16  # most train points at infinite time
REMAINING = 0.05  # part of the loss that is left at the default time


@dataclass(frozen=True, repr=False)
class Check(Judged):
    """What `lg.check` returns; it prints as a table.

    `claims`: one `Claim` per quantity; `verdict`: "disagrees" if one does, else "undecided" if one is, else "agrees"; `widths`
    (of the first hidden layer), `networks` trained per width; `time` = `eta` x `steps` of training; `train`, `test`: numbers of
    points; `net`: the network as code, at the smallest width; `seconds` taken.
    """

    claims: tuple[Claim, ...]
    verdict: str
    widths: tuple[int, ...]
    networks: int
    time: float
    eta: float
    steps: int
    train: int
    test: int
    net: str
    seconds: float

    def __repr__(self) -> str:
        head = f"Theory against real networks of widths {', '.join(map(str, self.widths))}: {' '.join(self.net.split())}"
        setting = f"{self.networks} networks per width, trained on {self.train} points to time {self.time:.4g}"
        setting += f" ({self.steps} steps of {self.eta:.3g}), compared on {self.test}"
        return self.table([head, setting])


@exits.finite()
def check(
    net: Any,
    X: Any,
    y: Any,
    widths: Sequence[int] = (8, 16, 32, 64),
    networks: int = 1000,
    key: Any = None,
    rates: Any = "ntk",
    time: float | None = None,
    X_test: Any = None,
    theory: Any = None,
    progress: bool = False,
) -> Check:
    """Hold theory against real networks: kernels of every layer, NTK, trained mean and covariance, at the same finite time.

    Real networks of the architecture `net` are drawn and trained on (X, y) at each of `widths` (of the first hidden layer; the
    others in proportion), full-batch descent in float32. Each quantity is projected onto theory and on a few more directions fixed
    by theory alone, averaged over networks, and extrapolated by m(n) = a + b/n + c/n^2; for the next order, which is not fitted,
    s^3 counts as an error, with s the relative deviation at the smallest width.

    Where the activation has kinks, trained quantities are extrapolated by a + b/sqrt(n) + c/n: training carries neurons over the
    kink, but not equally often both ways (a neuron that is off at a point is not pulled by it), and that changes the NTK by order
    1/sqrt(n): measured, for one hidden layer, its trace by -0.63 %, -0.26 %, -0.12 % at n = 256, 1024, 4096 with ReLU, and by
    -0.90 %, -0.25 %, -0.06 % with tanh. So kinks ask for wider or more networks.

    A claim agrees if

    - a is within 4 standard errors of theory in every direction, and known to 3 % of the quantity's scale;
    - the deviation falls as n^-p with 1 in the interval of p (4 standard errors) and its neighbours 0 and 2 outside, wherever
      there is a deviation to be seen (the mean of a ReLU kernel's diagonal has none; one network's squared deviation always has);
    - controls, wrong theories on the same data, are refused at more than 6 standard errors: C_W + 10 %, lambda_b and lambda_W
      swapped, and the Bayesian posterior in place of training.

    It disagrees if a direction is 4 or more standard errors off or the power is another; else it is undecided, and `.needed` says
    how many networks would decide.

    Parameters: `X` (n, features), `y` (n,) or (n, o); `X_test` (m, features), where trained outputs are compared; None holds the
    last quarter of X out (of fewer than four points: compares on X itself). `networks` trained per width (32 times as many are
    looked at untrained), `key` (default `jax.random.key(0)`), `rates` as in `lg.kernel`. `time` = eta x steps, for the loss
    (1/2) sum over samples and outputs; None: when theory's mean has 5 % of its loss left, at most 400 steps; infinity on at most 16
    train points. Theory is evaluated for the same steps (how="descent"), so that nothing is left to discretisation. `theory`: a network to
    ask theory about instead of `net`, to see a wrong one refused. `progress` prints a line per width to stderr.

    Returns a `Check`, with a `Claim` per quantity in `.claims`. Takes about 20 s on two cores for ten points and the default widths.
    Raises `InputError` for fewer than four widths or less than a factor of 8 between them, for widths that are not in proportion,
    for no hidden layer, and for what does not fit.

    Source: PDLT 4.118, 8.63 (kernels), 10.40, 10.41 (trained outputs), 4.76 (fluctuations of order 1/n).

    >>> import largen as lg, numpy as np
    >>> X, y = np.array([[1.0, 0.2], [-0.5, 1.0], [0.3, -1.2]]), np.array([1.0, -1.0, 0.5])
    >>> net = lg.mlp(widths=[8], out=1, activation="erf", C_W=1.5, C_b=0.1)
    >>> result = lg.check(net, X, y, networks=50, X_test=np.array([[0.7, 0.7]]))
    >>> [f"{claim.name} {claim.layer or ''}".strip() for claim in result.claims]
    ['kernel 1', 'kernel 2', 'NTK', 'trained mean', 'trained covariance']
    """
    began, progress = clock.perf_counter(), door.flag(progress, "progress")
    whole, asked = network(net), network(net if theory is None else theory, "theory")
    plain(whole, "lg.check")
    real = widened(whole, widths)
    question = _question(whole, asked, X, y, X_test, rates)
    many = door.count(networks, "networks", low=20)
    time = _time(time, len(question.X))
    require_room(real, question.X.shape[1:], len(real) * INITIAL * many, 8.0 * (len(chain(whole)) + 2))
    root = a_key(jax.random.key(0) if key is None else key)
    keys = [jax.random.split(jax.random.fold_in(root, i)) for i in range(len(real))]
    largest = max(measure.largest_eigenvalue(w, k[1], question, many) for w, k in zip(real.values(), keys, strict=True))
    question = _plan(question, largest, time)
    by, found = forecast(question), []
    for (n, w), k in zip(real.items(), keys, strict=True):
        found.append(measure.everything(w, k, question, by, many, INITIAL * many))
        if progress:
            print(f"lg.check: width {n} measured after {clock.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    bent = any(layer.activation is not None and layer.activation.kinks for layer in chain(whole))
    claims = tuple(
        claim(name, layer, tuple(real), [at[name, layer] for at in found], by.contrasts[name, layer], _powers(name, bent))
        for name, layer in by.contrasts
    )
    return Check(
        claims=claims,
        verdict=verdict_of(claims),
        widths=tuple(real),
        networks=min(claims[-1].networks),
        time=question.eta * question.steps,
        eta=question.eta,
        steps=question.steps,
        train=len(question.X),
        test=len(question.X_test),
        net=repr(next(iter(real.values()))),
        seconds=clock.perf_counter() - began,
    )


def _powers(name: str, bent: bool) -> tuple[float, float]:
    """The powers of 1/n in which a quantity approaches the limit."""
    return KINKED if bent and name.startswith("trained") else SMOOTH


def _question(net: Serial, asked: Serial, X: Any, y: Any, X_test: Any, rates: Any) -> Question:
    """Checked data in float64, and the test points; without steps yet."""
    X = door.host(door.points(X), "X")
    aims = door.host(door.targets(y, len(X)), "y")
    out = chain(net)[-1].width
    columns = aims[:, None] if aims.ndim == 1 else aims
    if columns.shape[1] != out:
        raise InputError("y", f"shape {aims.shape}", f"one column per output of the network ({out})")
    if plain(asked, "lg.check")[-1].width != out or len(chain(asked)) != len(chain(net)):
        raise InputError("theory", shown(asked), "a network of the same depth and outputs as `net`")
    resolve(net, rates)
    if rates == "ntk":  # the real networks' rates are those of `net`, whatever theory is asked about
        rates = tuple(map(list, zip(*resolve(net, rates).values(), strict=True)))
    if X_test is None:
        held = len(X) // 4
        X, points, columns = (X[:-held], X[-held:], columns[:-held]) if held else (X, X, columns)
    else:
        points = door.host(door.points(X_test, "X_test", X.shape[1], "X"), "X_test")
    return Question(asked, X, columns, points, rates, 0.0, 0)


def _time(time: Any, points: int) -> float | None:
    """The checked time; infinity on few points only, since NTKs of real data have condition numbers of 1e3 to 1e4."""
    if time is None:
        return None
    time = door.real(time, "time", low=0.0, strict=True, finite=False)
    if np.isinf(time) and points > FEW:
        raise InputError("time", f"infinity with {points} train points", f"a finite time, or at most {FEW} train points")
    return time


def _plan(q: Question, largest: float, time: float | None) -> Question:
    """The step size and number of steps: eta is a quarter of the stable limit 2/largest of the real networks."""
    eta = 0.5 / largest
    values, vectors = np.linalg.eigh(np.asarray(kernel(q.net, q.X, rates=q.rates).ntk))
    if time is None:
        power = ((vectors.T @ q.y) ** 2).sum(1)
        left = ((1 - np.clip(eta * values, 0, 1))[:, None] ** (2 * np.arange(STEPS + 1)) * power[:, None]).sum(0) / power.sum()
        return replace(q, eta=eta, steps=max(1, int(np.argmax(left <= REMAINING)) or STEPS))
    if np.isinf(time):
        time = 10 / max(float(values[0]), 1e-300)
    steps = int(np.ceil(time / eta))
    if steps > LAST:
        got = f"{time:.3g}, which takes {steps} steps (the largest NTK eigenvalue of the real networks is {largest:.3g})"
        raise InputError("time", got, f"a time that takes at most {LAST} steps, {LAST * eta:.3g}")
    return replace(q, eta=time / steps, steps=steps)
