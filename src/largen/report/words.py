"""The plain English of a report: the network in words, and a sentence per section with its numbers."""

import numpy as np

from largen.agreement.claim import Claim
from largen.agreement.statistics import LEVEL
from largen.agreement.study import Study
from largen.agreement.study.compared import noticed
from largen.agreement.study.finite import POINTS, TRAIN, Finite
from largen.agreement.study.records import Errors, Section
from largen.architecture.arrays import size
from largen.architecture.chain import chain
from largen.architecture.nodes import Serial
from largen.architecture.text import dumps
from largen.questions.criticality import is_critical
from largen.report.schema import Network

ORDER_1_N = {  # claimed times n, drawn as they are
    "variance of the kernel": "variance of the kernel / K²",
    "variance of the NTK": "variance of the NTK / Θ²",
    "dNTK with the output": "dNTK with the output / Θ²",
}


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


def quantity(c: Claim) -> str:
    """What a claim is about."""
    which = "" if c.modes is None else f"mode {c.modes[0]}" if c.modes[0] == c.modes[1] else f"modes {c.modes[0]} to {c.modes[1]}"
    if c.quantity in ORDER_1_N:
        return f"{ORDER_1_N[c.quantity]}, times n"
    return {
        "size": f"size of {c.layer}",
        "correlation": f"correlation in {c.layer}",
        "diagonal": "NTK, a point with itself",
        "off-diagonal": "NTK, different points",
        "movement": "movement of the NTK in training",
        "train loss": f"train loss after {c.step} steps",
        "test loss": f"test loss after {c.step} steps",
        "distance": "distance to its own linearisation",
        "residual": f"residual left of {which}",
        "test error": "test error of one network",
        "spread": "squared distance of one network from theory's mean",
    }[c.quantity]


def row(c: Claim) -> tuple[str, str, str, str]:
    """Theory, networks, z and what would have been noticed."""
    if c.precision is not None:
        return number(c.theory, 4), limit(c), f"{c.z:+.1f}", percent(LEVEL * c.precision)
    power = (
        "not determined"
        if c.exponent is None or c.interval is None
        else f"n^{-c.exponent:.2f} ({c.interval[0]:.2f} to {c.interval[1]:.2f})"
    )
    return f"n^-{c.predicted[0]:g} to n^-{c.predicted[1]:g}", power, f"{c.z:+.1f}", ""


def limit(c: Claim) -> str:
    """The networks' limit with its whole error."""
    return with_error(c.intercept or 0.0, c.error or 0.0)


def worst(claims: tuple[Claim, ...]) -> Claim:
    """The claim farthest from theory."""
    return max(claims, key=lambda c: abs(c.z))


def percent(value: float) -> str:
    """A share for people."""
    return f"{100 * value:.{0 if value >= 0.1 else 1}f}\N{NO-BREAK SPACE}%"


def score(value: float, measure: str) -> str:
    """A test error in its unit."""
    return percent(value) if measure == "fraction wrong" else number(value)


def far(found: Finite) -> tuple[str, ...]:
    """How far from infinite the network is."""
    if found.L_over_n is None:
        return (f"Nothing is said of it: {found.missing}",)
    ends = f"Of trained networks nothing is predicted to order 1/n: {found.missing.rstrip('.')}."
    if found.bias is not None and found.variance is not None:
        (bias, bias_n), (variance, variance_n) = found.bias, found.variance
        ends = (
            f"Trained on {TRAIN} points and asked at {POINTS - TRAIN}, infinitely wide networks lose {bias:.3g} by bias and {variance:.3g} by "
            f"their spread; at this width, to first order in 1/n, {bias_n:.3g} and {variance_n:.3g}."
        )
    return (f"Depth over width, summed over all layers, is {found.L_over_n:.2g}.", *found.sentences, ends)


def network(net: Serial, n_in: int) -> Network:
    """The network in words, as code and as text."""
    layers = chain(net)
    parameters = size(net, (n_in,))
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
    return Network(repr(net), dumps(net, "toml"), words, len(layers), parameters, critical)


def _listed(values: list[float]) -> str:
    return number(values[0]) if len(set(values)) == 1 else ", ".join(number(v) for v in values)


def _opening(part: Section) -> str:
    far, many = worst(part.claims), len(part.claims)
    if part.verdict == "disagrees":
        return f"Theory and real networks disagree: {quantity(far)} is {abs(far.z):.1f} standard errors off."
    if part.verdict == "agrees":
        return (
            f"Theory agrees with real networks: the largest of {many} differences is {abs(far.z):.1f} standard errors; "
            f"typically one of {percent(noticed(part.claims))} would have been noticed."
        )
    return (
        f"Undecided: no difference was found, but a deviation of {percent(noticed(part.claims))} could typically not be told; only "
        f"{sum(c.verdict == 'agrees' for c in part.claims)} of {many} comparisons would have noticed one of a fifth. More networks "
        "(--networks, --draws) would decide."
    )


def _one(c: Claim) -> str:
    return f"theory {number(c.theory)}, networks {limit(c)} as n\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}∞"


def _power(c: Claim) -> str:
    if c.exponent is None or c.interval is None:
        return "is too irregular over these widths to fit a power of n"
    low, high = c.interval
    return f"falls as n^{-c.exponent:.2f} (between n^{-low:.2f} and n^{-high:.2f} at 4 standard errors; theory: n^-1/2 to n^-1)"


def signals(study: Study) -> str:
    """The verdict on signals."""
    s = study.signals
    last = s.of("correlation")[-1]
    return (
        f"{_opening(s)} From the first layer to the last, the mean square of the preactivations goes from "
        f"{number(s.size[0])} to {number(s.size[-1])}; in the last hidden layer different points have the mean cosine: {_one(last)}."
    )


def tangent(study: Study) -> str:
    """The verdict on the NTK."""
    t = study.tangent
    (own,), (moved,) = t.of("diagonal"), t.of("movement")
    text = f"In training it moved by {percent(moved.means[-1])} at width {moved.widths[-1]}, {percent(moved.means[0])} at width"
    return f"{_opening(t)} At the start, a point with itself: {_one(own)}. {text} {moved.widths[0]}: it {_power(moved)}."


def curves(study: Study) -> str:
    """The verdict on learning curves."""
    c = study.curves
    train, test = (c.of(f"{kind} loss")[-1] for kind in ("train", "test"))
    at_width = f"at width {c.widths[-1]} they are at {number(c.train[-1][-1])} and {number(c.test[-1][-1])}, and {percent(c.inside)}"
    text = (
        f"{_opening(c)} After {c.steps[-1]} steps, train loss: {_one(train)}; test loss: {_one(test)}; {at_width} "
        "of their points lie in theory's band of two standard deviations."
    )
    if c.control is None:
        return f"{text} No linearised control: {c.missing}."
    (distance,) = c.of("distance")
    return f"{text} A network of width {c.control.width} ends {percent(distance.means[-1])} of its way from its own linearisation, which {_power(distance)}."


def modes(study: Study) -> str:
    """The verdict on eigenmodes."""
    m = study.modes
    off = np.median(np.abs(np.log(np.maximum(m.rate[-1], 1e-12)) - np.log(m.eigenvalue)))
    return (
        f"{_opening(m)} {len(m.eigenvalue)} modes decayed enough to be measured, with eigenvalues from {number(m.eigenvalue[-1])} "
        f"to {number(m.eigenvalue[0])}; at width {m.widths[-1]} the typical rate is {percent(float(np.expm1(off)))} from its eigenvalue."
    )


def errors(study: Study) -> str:
    """The verdict on test errors."""
    e = study.errors
    text = (
        f"{_opening(e)} One network at width {e.widths[-1]}: {score(e.measured[-1], e.measure)} "
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
    return {name: (getattr(study, name).verdict, tell(study)) for name, tell in SECTIONS.items()}


def _at_width(study: Study) -> str:
    c = study.curves
    off = c.test[-1][-1] / c.theory_test[-1] - 1
    return f"At width {c.widths[-1]} the test loss is {percent(abs(off))} {'above' if off > 0 else 'below'} that of infinite width."


def headline(study: Study) -> str:
    """The report in one sentence."""
    far = worst(study.claims)
    if study.verdict == "agrees":
        return (
            f"What the theory of wide networks predicts for this network is what real networks did: none of {len(study.claims)} differences "
            f"exceeds {abs(far.z):.1f} standard errors, extrapolated to infinite width. {_at_width(study)}"
        )
    parts = "; ".join(title for name, title in TITLES.items() if getattr(study, name).verdict == study.verdict)
    if study.verdict == "disagrees":
        return f"Theory and real networks disagree on: {parts}. The largest difference: {quantity(far)}, {abs(far.z):.1f} standard errors."
    return f"Nothing contradicts theory, but the measurement is too coarse on: {parts}."


TITLES = {
    "signals": "signal sizes and correlations",
    "tangent": "the neural tangent kernel",
    "curves": "learning curves",
    "modes": "learning speed, mode by mode",
    "errors": "test error",
}
