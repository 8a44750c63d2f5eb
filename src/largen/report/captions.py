"""What each figure shows, in words: its caption, and its description for those who cannot see it."""

from largen.report import words
from largen.report.schema import Report


def captions(report: Report) -> dict[str, str]:
    """Figure name -> caption."""
    s, wide = report.study, report.setup.widths[-1]
    seen, control = f"{s.signals.points} train points", s.curves.control
    found = {
        "depth": "By what a small squared difference (χ⊥) and a change of size (χ∥) are multiplied from each layer to the next, at infinite "
        "width. Dashed: 1, criticality.",
        "finite": f"What is of first order in 1/n on {report.finite.points} train points, relative to infinite width. Lines: theory; dots: real "
        "networks, averaged over their last weights, with two standard errors. Dashed: the tolerance.",
        "signals": f"Untrained networks on {seen}: mean square of the preactivations and mean cosine between different points, "
        "layer by layer. Line: theory at infinite width; dots: real networks, side by side.",
        "ntk": f"The NTK of untrained networks for pairs of {seen}, mean over networks of width {wide}, against theory. On the dashed "
        "line they are equal.",
        "movement": "What theory says vanishes as networks get wider: how far the NTK moved in training"
        f"{', and how far trained networks ended from their own linearisation' if control else ''}. {_fitted(report)}",
        "curves": "Loss during full-batch gradient descent. Grey: theory for infinitely wide networks at the same step size and number "
        f"of steps. Thin lines: the {len(s.curves.train_networks)} networks of width {wide}. Blue dots: all widths, extrapolated in 1/n.",
        "modes": "Each dot is an eigenmode of theory's NTK on the train points: the rate at which real networks removed the error along "
        "it, against its eigenvalue. The narrower the networks, the more they differ from theory in slow modes.",
        "errors": f"Test error on {report.data.test} points. Giving the same answer everywhere: "
        f"{words.score(s.errors.chance, s.errors.measure)}.",
    }
    if control is not None:
        found["control"] = (
            f"One network of width {control.width} (circles) against gradient descent on its own linearisation, from the same start, "
            f"with its own NTK (lines); test loss on {control.points} points."
        )
    return found


def _fitted(report: Report) -> str:
    """What is said of the powers of n that are drawn: a line for each that the widths determine."""
    drawn = [claim.exponent is not None for claim in (*report.study.tangent.of("movement"), *report.study.curves.of("distance"))]
    if not any(drawn):
        return "No power of n is drawn: the values are too irregular to fit one."
    some = "" if all(drawn) else ", where the values are regular enough to fit one"
    return f"Dashed: the fitted powers of n, through the widest networks{some}; higher orders bend the narrow ones away."
