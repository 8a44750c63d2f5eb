"""Do real networks scale with width as the exponents of a parametrization say? 15 parametrizations on either side of every face of TP4's
polyhedron of stable ones.

`lg.Parametrization.exponents(step)` says how preactivations, their moves and outputs scale with the width n after each of the first steps
of training. Tanh networks of two hidden layers, five widths, are trained for three steps on four points; the power of n in the root mean
square of a move is fitted in every network of a seed, its standard error is that over seeds. Stable parametrizations are held against
theory in steps 1 to 3; one that is not only where theory says that it first breaks, and only what it says to break first: tanh saturates
behind.

    python gallery/parametrizations.py         # no data needed; about ten minutes on two cores

Prints a row a face and writes `parametrizations.html` in the folder --out. Exit code 1 if the claim fails: every power within 0.12 of
theory's, with a 95 % interval that excludes those 1/4 above and below.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import jax
import numpy as np
import plotly.graph_objects as go
from common import run
from scipy.stats import t as student

import largen as lg

WIDTHS, SEEDS, STEPS, ETA = (128, 256, 512, 1024, 2048), 8, 3, 0.25
MANY = 8  # times as many seeds where the start alone is looked at
TOLERANCE, NEXT = 0.12, 0.25
Q, HALF = Fraction(1, 4), Fraction(1, 2)
FACES = ("a_1 + b_1 = 0", "a_2 + b_2 = 1/2", "a_3 + b_3 >= 1/2", "r >= 0", "r_3 >= 0", "a_3 + b_3 + r >= 1")
EACH = 15


@dataclass(frozen=True)
class Power:
    """One quantity in one parametrization after one step: `theory`'s power of n, `measured` +- `error` over `seeds`, and the power of a
    fit with a term in n^-1/2 besides."""

    face: str
    inside: bool
    quantity: str
    step: int
    seeds: int
    theory: float
    measured: float
    error: float
    corrected: float

    @property
    def z(self) -> float:
        return (self.measured - self.theory) / self.error

    @property
    def reach(self) -> float:
        """Half of the 95 % interval."""
        return float(student.ppf(0.975, self.seeds - 1)) * self.error

    @property
    def good(self) -> bool:
        off = abs(self.measured - self.theory)
        return off <= TOLERANCE and NEXT - off > self.reach


@dataclass(frozen=True)
class Outcome:
    """All powers; which part of the intervals covers theory's; whether the claim holds."""

    powers: tuple[Power, ...]
    coverage: float
    holds: bool


def stable(draw: random.Random) -> tuple[list[Fraction], Fraction, list[Fraction], Fraction]:
    """What the theorems bound, of a stable parametrization: starts of the two hidden layers, of the readout, r_1 and r_2, and r_3."""
    last = HALF + Q * draw.randint(0, 3)
    least = max(Fraction(0), 1 - last)
    return [Fraction(0), HALF], last, [least + Q * draw.choice((0, 0, 1, 2)) for _ in range(2)], Q * draw.choice((0, 0, 1, 2))


def point(face: str, inside: bool, draw: random.Random) -> lg.Parametrization:
    """A parametrization on one side of a face, at least 1/4 away from it (on it or off it, of an equality), in a gauge drawn at random."""
    start, last, r, readout = stable(draw)
    off, far = Q * draw.randint(1, 2), Q * draw.randint(1, 2)
    match face:
        case "a_1 + b_1 = 0" | "a_2 + b_2 = 1/2":
            start[face.startswith("a_2")] += 0 if inside else draw.choice((-1, 1)) * off
        case "a_3 + b_3 >= 1/2":
            last = max(last, HALF + Q) if inside else HALF - off
        case "r_3 >= 0":
            readout = max(readout, Q) if inside else -off
        case "r >= 0":
            last = max(last, HALF + Q)
            r = [max(x, Q, 1 - last) for x in r]
            if not inside:
                r[draw.randrange(2)] = -off
        case _:
            last = HALF + Q * draw.randint(1, 2) if inside else HALF + Q * draw.randint(0, 1)
            r = [1 - last + far + Q * draw.randint(0, 1)] * 2 if inside else [max(Fraction(0), 1 - last - off)] * 2
    size = min(last, 1 + readout)
    rate = [r[0] - size, r[1] - size + 1, 1 + readout]
    shifts = [Q * draw.randint(-2, 2) for _ in range(3)]
    return lg.Parametrization(a=[0, 0, 0], b=[*start, last], c=rate).gauge(shifts)


def data(points: int = 4, features: int = 10) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(points, features)).astype(np.float32)
    return X / np.sqrt((X**2).mean(1, keepdims=True)), np.array([1.0, -1.0] * (points // 2), np.float32)


def sizes(p: lg.Parametrization, width: int, seeds: int, steps: int) -> dict[tuple[str, int], np.ndarray]:
    """{(quantity, step): (seeds,)}: root mean squares over units and points."""
    net, (X, y) = lg.mlp([width, width], 1, "tanh"), data()
    weights = lg.init(net, X.shape[1], jax.random.key(width), networks=seeds, parametrization=p)

    def look(w: dict[str, dict[str, jax.Array]]) -> list[np.ndarray]:
        return [np.asarray(z, float) for z in lg.each(lg.measure.preactivations, net, w, X, parametrization=p).values()]

    def norm(z: np.ndarray) -> np.ndarray:
        return np.sqrt((z**2).reshape(seeds, -1).mean(1))

    names = ("h_1", "h_2", "f")
    before = look(weights)
    found = {(name, 0): norm(z) for name, z in zip(names, before, strict=True)}
    for step in range(1, steps + 1):
        weights, _ = lg.each(lg.train, net, weights, X, y, ETA, 1, parametrization=p)
        moves = [after - at for after, at in zip(look(weights), before, strict=True)]
        found |= {(f"move of {name}", step): norm(z) for name, z in zip(names, moves, strict=True)}
    return found


def predicted(p: lg.Parametrization) -> dict[tuple[str, int], float]:
    """What theory says of what is measured: all of stable steps, of the first that is not what breaks."""
    found, broken = p.classify(), p.classify().first_unstable
    out: dict[tuple[str, int], float] = {}
    for step in range(STEPS + 1 if broken is None else broken + 1):
        at = p.exponents(step)
        here = (*(at.preactivations or ()), at.output) if step == 0 else (*(at.moves or ()), at.output_moves)
        said = {f"{'move of ' * (step > 0)}{name}": float(x or 0) for name, x in zip(("h_1", "h_2", "f"), here, strict=True)}
        if step == 0 and broken != 0:
            del said["f"]  # one number a network and point: eight networks say little
        if step == broken:
            names = {what(condition.name, step) for condition in found.violated}
            said = {name: said[name] for name in names - {"move of f"} or names}
        out |= {(name, step): x for name, x in said.items()}
    return out


def what(condition: str, step: int) -> str:
    """Which quantity breaks with a condition."""
    at_start = {"a_1 + b_1": "h_1", "a_2 + b_2": "h_2", "a_3 + b_3": "f"}
    return at_start[condition] if step == 0 else f"move of {({'r_1': 'h_1', 'r_2': 'h_2'}).get(condition, 'f')}"


def powers(face: str, inside: bool, p: lg.Parametrization, widths: tuple[int, ...], seeds: int) -> Iterator[Power]:
    theory = predicted(p)
    steps = max(step for _, step in theory)
    seeds *= 1 if steps else MANY
    found = [sizes(p, width, seeds, steps) for width in widths]
    n = np.array(widths, float)
    plain, corrected = (np.stack([np.log(n), np.ones_like(n), *more]).T for more in ((), (n**-0.5,)))
    for (quantity, step), power in theory.items():
        logs = np.log(np.array([each[quantity, step] for each in found]))
        slopes, better = (np.linalg.lstsq(design, logs)[0][0] for design in (plain, corrected))
        error = float(slopes.std(ddof=1) / seeds**0.5)
        yield Power(face, inside, quantity, step, seeds, power, float(slopes.mean()), error, float(better.mean()))


def study(faces: tuple[str, ...] = FACES, each: int = EACH, widths: tuple[int, ...] = WIDTHS, seeds: int = SEEDS) -> Outcome:
    """Every face, both sides."""
    out: list[Power] = []
    for face in faces:
        for inside in (True, False):
            draw, rows = random.Random(f"{face} {inside}"), list[Power]()
            for _ in range(each):
                rows += powers(face, inside, point(face, inside, draw), widths, seeds)
            covered = np.mean([abs(row.measured - row.theory) <= row.reach for row in rows])
            worst = max(rows, key=lambda row: abs(row.measured - row.theory))
            side = ("on" if "= " in face.replace(">=", "") else "inside") if inside else "off"
            print(
                f"{face:20s} {side:6s} {each} parametrizations, {len(rows)} powers, {sum(row.good for row in rows)} good; the worst "
                f"{worst.quantity} in step {worst.step}: {worst.measured:.3f} +- {worst.error:.3f} (with n^-1/2 {worst.corrected:.3f}), "
                f"theory {worst.theory:g}; {100 * covered:.0f} % of intervals cover theory's",
                flush=True,
            )
            out += rows
    coverage = float(np.mean([abs(row.measured - row.theory) <= row.reach for row in out]))
    return Outcome(tuple(out), coverage, all(row.good for row in out) and coverage >= 0.9)


def figure(out: Outcome) -> go.Figure:
    """Measured powers against theory's, a colour a face."""
    fig = go.Figure()
    for face in dict.fromkeys(row.face for row in out.powers):
        rows = [row for row in out.powers if row.face == face]
        bars = {"type": "data", "array": [row.reach for row in rows], "thickness": 1}
        fig.add_scatter(x=[row.theory for row in rows], y=[row.measured for row in rows], error_y=bars, mode="markers", name=face)
    ends = [min(row.theory for row in out.powers), max(row.theory for row in out.powers)]
    fig.add_scatter(x=ends, y=ends, mode="lines", line={"color": "black", "width": 1}, name="equal")
    return fig.update_layout(template="plotly_white", xaxis_title="power of n, theory", yaxis_title="power of n, measured", height=560)


def main() -> int:
    return run(__doc__, "parametrizations", study, figure)


if __name__ == "__main__":
    sys.exit(main())
