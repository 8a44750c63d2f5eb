"""Sums over ordered times of what decays while a network is trained: all that the path of training contributes at order 1/n."""

from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Any

import numpy as np

from largen import door
from largen.errors import InputError, shown
from largen.types import Array, is_traced, namespace

HOWS = ("flow", "descent", "newton")
Table = dict[tuple[int, int], Any]


@dataclass(frozen=True)
class Ordered:
    """Ordered sums W of one algorithm, until a time (flow, step 0) or a number of steps; infinity is the end of training.

    flow: W(x_1, .., x_k) = integral over t > s_1 > .. > s_k > 0 of exp(-x_1 (s_1 - s_2) - x_2 (s_2 - s_3) - .. - x_k s_k),
    descent: eta^k sum over t > s_1 > .. > s_k >= 0 of q_1^(s_1 - s_2 - 1) .. q_k^(s_k), with q = 1 - eta x.

    Up to the sign they are the divided differences of exp(-x t), of q^t, at 0, x_1, .., x_k. W() = 1, W(x) = (1 - exp(-x t))/x; at
    the end of training W is the product of all 1/x.

    >>> import numpy as np
    >>> W = Ordered(0.0, 3.0)
    >>> [round(float(W(*map(np.array, rates))), 6) for rates in ((0.0,), (2.0,), (2.0, 2.0), (0.0, 0.0))]
    [3.0, 0.498761, 0.245662, 4.5]
    """

    step: Any
    until: Any

    def __call__(self, *rates: Any) -> Any:
        """W at arrays of rates >= 0 that broadcast. Equal rates and small ones are no exception: nothing is divided by differences."""
        if not rates:
            return np.ones(())
        if self.until == np.inf:
            return reduce(mul, (1 / rate for rate in rates))
        if self.until == 0:
            return 0.0 * reduce(mul, rates)
        out = self._table((0.0 * rates[0], *rates))[0, len(rates)]
        return namespace(*rates).broadcast_to(out, np.broadcast_shapes(*(rate.shape for rate in rates)))

    def both(self, a: Any, b: Any) -> Any:
        """The rate of a product of two that decay: a + b, in descent a + b - eta a b."""
        return a + b - self.step * a * b

    def left(self, rate: Any) -> Any:
        """What one step leaves, q = 1 - eta x; 1 for flow."""
        return 1 - self.step * rate

    def _table(self, rates: tuple[Any, ...]) -> Table:
        """[i, j]: the divided difference from rate i to rate j. Such triangular matrices multiply as times add up.

        While eta x <= 1 no terms of a product differ in sign, so that nothing cancels. What is on the diagonal is known.
        """
        count, unit = self._unit(rates)
        out, done = unit, 1
        for bit in bin(count)[3:]:
            out, done = self._joined(out, out, rates, 2 * done / count), 2 * done
            if bit == "1":
                out, done = self._joined(out, unit, rates, (done + 1) / count), done + 1
        return out

    def _unit(self, rates: tuple[Any, ...]) -> tuple[int, Table]:
        """How many units of time there are, and the table of one: a step; or so little time that the mean rate tells all."""
        places = [(i, j) for i in range(len(rates)) for j in range(i, len(rates))]
        if not _is_flow(self.step):
            unit = {(i, j): self.left(rates[i]) if i == j else self.step * (j == i + 1) for i, j in places}
            return int(self.until), unit
        if is_traced(*rates):
            need = "arrays that are not traced, or time=inf, with order=1"
            raise InputError("time", f"{self.until} with traced arrays", need, 'how="descent" with eta and steps can be traced.')
        xp = namespace(*rates)
        brief = float(np.sqrt(np.finfo(rates[0].dtype).eps))  # the first neglected term is brief^2
        decays = max(float(rate.max()) for rate in rates) * self.until
        count = 2 ** max(0, int(np.ceil(np.log2(max(decays / brief, 1.0)))))
        little, unit = self.until / count, {}
        for i, j in places:
            unit[i, j] = xp.exp(-little * sum(rates[i : j + 1]) / (j - i + 1))
            for k in range(1, j - i + 1):
                unit[i, j] = unit[i, j] * (little / k)
        return count, unit

    def _joined(self, one: Table, two: Table, rates: tuple[Any, ...], part: float) -> Table:
        """The table of one time after another, together `part` of the whole."""
        until = part * self.until
        out = {(i, i): self._decay(rate, until) for i, rate in enumerate(rates)}
        return out | {(i, j): sum(one[i, k] * two[k, j] for k in range(i, j + 1)) for i, j in one if i < j}

    def _decay(self, rate: Any, until: Any) -> Any:
        """exp(-x t), or q^steps to full relative precision."""
        xp = namespace(rate, self.step)
        if _is_flow(self.step):
            return xp.exp(-rate * until)
        steps, x = round(until), self.step * rate
        small = x < 0.5
        return xp.where(small, xp.exp(steps * xp.log1p(-xp.where(small, x, 0.5))), (1 - x) ** steps)


def _is_flow(step: Any) -> bool:
    return isinstance(step, float) and step == 0.0


def ordered(values: Any, how: str = "flow", eta: Any = None, until: Any = np.inf) -> Ordered:
    """The `Ordered` of an algorithm, checked against the eigenvalues (N,) of the train NTK; Newton's is that of flow at its end.

    `until`: the time (flow), or the number of steps (descent). Raises `InputError` for eigenvalues that are negative, or zero at
    infinite time, for a step with which descent diverges, and for arguments that do not go together.
    """
    door.choice(how, "how", HOWS)
    until = door.number(until, "until", low=0.0, finite=False)
    need = f"{'positive' if until == np.inf else 'non-negative'} eigenvalues of the train NTK, of shape (N,)"
    h = door.array(values, "values", need)
    if h.ndim != 1 or (not is_traced(h) and not (float(h.min()) > 0 or (float(h.min()) == 0 and until < np.inf))):
        raise InputError("values", f"shape {h.shape}" if h.ndim != 1 else f"a smallest one of {float(h.min()):.3g}", need)
    if how == "descent" and until != np.inf and until != round(until):
        raise InputError("until", f"{until:g}", 'a whole number of steps with how="descent"')
    if how == "newton" and until != np.inf:
        raise InputError("until", f"{until:g}", 'infinity with how="newton": it is at its end at once')
    return Ordered(_step(h, how, eta), until)


def _step(h: Array, how: str, eta: Any) -> Any:
    """The step size, 0 for flow, checked against the eigenvalues."""
    if how != "descent":
        if how == "flow" and eta is not None:
            raise InputError("eta", shown(eta), 'no eta with how="flow"')
        return 0.0
    if eta is None:
        raise InputError("eta", "None", 'a step size with how="descent"')
    eta = door.number(eta, "eta", low=0.0, strict=True)
    if not is_traced(eta, h) and not float(eta) * float(namespace(h).max(h)) < 2:
        need = f"less than 2/lambda_max = {2 / float(np.max(np.asarray(h))):.6g}, or training has no end"
        raise InputError("eta", f"{eta:g}", need, "lg.max_learning_rate(theta) gives the bound.")
    return eta
