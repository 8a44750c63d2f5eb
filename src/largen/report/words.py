"""The plain English of a report: the network in words, and a sentence per section with its numbers."""

import numpy as np

from largen.agreement.study import Study
from largen.agreement.study.records import AGREES, DISAGREES, Comparison, Errors, FallOff, Judgement
from largen.architecture.chain import chain
from largen.architecture.nodes import Serial
from largen.architecture.text import as_code, dumps
from largen.questions.criticality import is_critical
from largen.report.schema import Network


def number(value: float, digits: int = 3) -> str:
    """A number for people: `digits` significant ones."""
    if not np.isfinite(value):
        return "infinite"
    return f"{value:.{digits}g}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.{digits - 1}e}"


def with_error(value: float, se: float) -> str:
    """value +- se, rounded by the error."""
    if se <= 0 or not np.isfinite(se):
        return number(value)
    decimals = max(0, 1 - int(np.floor(np.log10(se))))
    return f"{value:.{min(decimals, 8)}f} ± {se:.{min(decimals, 8)}f}"


def limit(c: Comparison) -> str:
    """The networks' limit with its whole error."""
    return with_error(c.limit, float(np.hypot(c.se, c.truncation)))


def percent(value: float) -> str:
    """A share for people."""
    return f"{100 * value:.{0 if value >= 0.1 else 1}f}\N{NO-BREAK SPACE}%"


def score(value: float, measure: str) -> str:
    """A test error in its unit."""
    return percent(value) if measure == "fraction wrong" else number(value)


def network(net: Serial, n_in: int) -> Network:
    """The network in words, as code and as text."""
    layers = chain(net)
    fans = [n_in, *(layer.width for layer in layers[:-1])]
    parameters = sum(f * layer.width + layer.width for f, layer in zip(fans, layers, strict=True))
    hidden = [layer.width for layer in layers[:-1]]
    name = layers[1].activation.name if layers[1].activation is not None else "linear"
    shape = f"{len(hidden)} hidden layer{'s' * (len(hidden) > 1)} of " + (
        str(hidden[0]) if len(set(hidden)) == 1 else " - ".join(map(str, hidden))
    )
    outputs = f"{layers[-1].width} output{'s' * (layers[-1].width > 1)}"
    critical = is_critical(layers)
    starts = {
        True: "This is the critical initialisation of this activation: signals and gradients neither explode nor fade with depth.",
        False: "This is not the critical initialisation of this activation: with depth, signals or gradients grow or fade.",
        None: "This activation has no critical initialisation.",
    }[critical]
    ratio = len(layers) / hidden[0]
    words = (
        f"A fully-connected network: {n_in} inputs, {shape} {name} units, {outputs}; {len(layers)} affine layers, {parameters:,} parameters.",
        f"Weights start with variance C_W / fan-in, C_W = {_listed([layer.C_W for layer in layers])}; biases with variance "
        f"C_b = {_listed([layer.C_b for layer in layers])}. {starts}",
        f"Theory treats depth over width as small: here L/n = {len(layers)}/{hidden[0]} = {number(ratio, 2)}, "
        "the scale of what it leaves out.",
    )
    return Network(as_code(net), dumps(net, "toml"), words, len(layers), parameters, critical)


def _listed(values: list[float]) -> str:
    return number(values[0]) if len(set(values)) == 1 else ", ".join(number(v) for v in values)


def _opening(judgement: Judgement) -> str:
    if judgement.verdict == DISAGREES:
        return f"Theory and real networks disagree: {judgement.worst} is {number(abs(judgement.worst_z), 2)} standard errors off."
    if judgement.verdict == AGREES:
        return (
            f"Theory agrees with real networks: the largest of {judgement.comparisons} differences is "
            f"{number(abs(judgement.worst_z), 2)} standard errors; typically one of {percent(judgement.notices)} would have been noticed."
        )
    return (
        f"Undecided: no difference was found, but only {judgement.decided} of {judgement.comparisons} comparisons would have noticed one "
        "of a fifth. More networks (--networks, --draws) would decide."
    )


def _one(c: Comparison) -> str:
    return f"theory {number(c.theory)}, networks {limit(c)} as n\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}∞"


def _power(fall: FallOff) -> str:
    if fall.power is None or fall.low is None or fall.high is None:
        return "too irregular over these widths to fit a power of n"
    return f"falls as n^-{fall.power:.2f} (between n^-{fall.low:.2f} and n^-{fall.high:.2f} at 4 standard errors; theory: n^-1/2 to n^-1)"


def signals(study: Study) -> str:
    """The verdict on signals."""
    s = study.signals
    last = next(c for c in reversed(s.comparisons) if c.quantity.startswith("correlation"))
    return (
        f"{_opening(s.judgement)} From the first layer to the last, the mean square of the preactivations goes from "
        f"{number(s.size[0])} to {number(s.size[-1])}; in the last hidden layer different points have the mean cosine: {_one(last)}."
    )


def tangent(study: Study) -> str:
    """The verdict on the NTK."""
    t = study.tangent
    moved = (
        f"In training it moved by {percent(t.movement.means[-1])} at width {t.movement.widths[-1]}, {percent(t.movement.means[0])} at width"
    )
    return (
        f"{_opening(t.judgement)} At the start, a point with itself: {_one(t.comparisons[0])}. {moved} {t.movement.widths[0]}: "
        f"it {_power(t.movement)}."
    )


def curves(study: Study) -> str:
    """The verdict on learning curves."""
    c = study.curves
    train, test = (next(e for e in reversed(c.comparisons) if e.quantity.startswith(kind)) for kind in ("train", "test"))
    at_width = f"at width {c.widths[-1]} they are at {number(c.train[-1][-1])} and {number(c.test[-1][-1])}, and {percent(c.inside)}"
    text = (
        f"{_opening(c.judgement)} After {c.steps[-1]} steps, train loss: {_one(train)}; test loss: {_one(test)}; {at_width} "
        "of their points lie in theory's band of two standard deviations."
    )
    if c.control is None:
        return f"{text} No linearised control: {c.missing}."
    distance = c.control.distance
    return f"{text} A network of width {c.control.width} ends {percent(distance.means[-1])} of its way from its own linearisation: {_power(distance)}."


def modes(study: Study) -> str:
    """The verdict on eigenmodes."""
    m = study.modes
    off = np.median(np.abs(np.log(np.maximum(m.rate[-1], 1e-12)) - np.log(m.eigenvalue)))
    return (
        f"{_opening(m.judgement)} {len(m.eigenvalue)} modes decayed enough to be measured, with eigenvalues from {number(m.eigenvalue[-1])} "
        f"to {number(m.eigenvalue[0])}; at width {m.widths[-1]} the typical rate is {percent(float(np.expm1(off)))} from its eigenvalue."
    )


def errors(study: Study) -> str:
    """The verdict on test errors."""
    e = study.errors
    text = (
        f"{_opening(e.judgement)} One network at width {e.widths[-1]}: {score(e.measured[-1], e.measure)} "
        f"(theory {score(e.single, e.measure)}). Kernel machines, the average of infinitely many networks: NTK {score(e.ntk, e.measure)} at the same "
        f"time, {score(e.ntk_end, e.measure)} at the end, NNGP {score(e.nngp, e.measure)}."
    )
    return text + advice(e)


def advice(e: Errors) -> str:
    """What to do about the errors, if theory knows."""
    if e.initial_share < 0.3:
        return ""
    return (
        f" {percent(e.initial_share)} of one network's squared test error is what its random start leaves behind, not bias: averaging "
        f"{e.ensemble_size} networks gives {score(e.ensemble_measured, e.measure)} (theory {score(e.ensemble, e.measure)}); "
        "a smaller C_W in the last layer has the same effect on one network."
    )


SECTIONS = {"signals": signals, "tangent": tangent, "curves": curves, "modes": modes, "errors": errors}


def verdicts(study: Study) -> dict[str, tuple[str, str]]:
    """Word and sentence of every section."""
    return {name: (getattr(study, name).judgement.verdict, tell(study)) for name, tell in SECTIONS.items()}


def _at_width(study: Study) -> str:
    c = study.curves
    off = c.test[-1][-1] / c.theory_test[-1] - 1
    return f"At width {c.widths[-1]} the test loss is {percent(abs(off))} {'above' if off > 0 else 'below'} that of infinite width."


def headline(study: Study) -> str:
    """The report in one sentence."""
    j = study.judgement
    if j.verdict == AGREES:
        return (
            f"What the theory of wide networks predicts for this network is what real networks did: none of {j.comparisons} differences "
            f"exceeds {number(abs(j.worst_z), 2)} standard errors, extrapolated to infinite width. {_at_width(study)}"
        )
    parts = [title for name, title in TITLES.items() if getattr(study, name).judgement.verdict == j.verdict]
    if j.verdict == DISAGREES:
        return f"Theory and real networks disagree on: {'; '.join(parts)}. The largest difference: {j.worst}, {number(abs(j.worst_z), 2)} standard errors."
    return f"Nothing contradicts theory, but the measurement is too coarse on: {'; '.join(parts)}."


TITLES = {
    "signals": "signal sizes and correlations",
    "tangent": "the neural tangent kernel",
    "curves": "learning curves",
    "modes": "learning speed, mode by mode",
    "errors": "test error",
}
