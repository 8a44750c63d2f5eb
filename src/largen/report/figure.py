"""`lg.figure`: the picture of a record."""

from typing import Any

import numpy as np

from largen import door
from largen.activations.critical import Critical
from largen.agreement.claim import Claim
from largen.agreement.records import Check
from largen.errors import InputError
from largen.parametrizations.picture import Picture
from largen.prediction.record import Prediction
from largen.theory.kernels import Kernel
from largen.theory.signal.phase import PhaseDiagram
from largen.theory.signal.signal import Signal

NEED = (
    "what lg.critical, lg.phase_diagram, lg.signal, lg.kernel, lg.gram, lg.predict, lg.scaling.picture or lg.check returned, or its claim"
)


def figure(record: Any, X: Any = None) -> Any:
    """The Plotly figure of a record, with a title that says what is drawn.

    Parameters
    ----------
    record : record
        - of `lg.critical`: chi and K against size;
        - of `lg.phase_diagram`: depth scales over (C_W, C_b);
        - of `lg.signal`: sizes, chi, gradients by level;
        - of `lg.kernel` and `lg.gram`: heat maps of K and Theta, and their eigenvalues on a logarithmic axis, of at most 500 points;
        - of `lg.predict`: means with bands of two standard deviations;
        - of `lg.scaling.picture`: the regime of every parametrization;
        - of `lg.check`, or one of its claims: what was measured against width, with two standard errors, and theory as a line.
    X : array (m, ...), optional
        The m test points of a prediction, whose first column is drawn against; None for their number.

    Returns
    -------
    plotly.graph_objects.Figure
        `.show()` opens it, `.write_html(path)` saves it, `.write_image(path)` saves a picture (`pip install "largen[images]"` and a Chrome
        or Chromium; `InputError` without).

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> import largen as lg
    >>> fig = lg.figure(lg.critical("tanh"))
    >>> [axis.title.text for axis in fig.select_xaxes()]
    ['K (mean square of a preactivation)', 'layer l']
    """
    from largen.report import figures_records, figures_scaling, figures_signal, pictures  # plotly is slow to import

    if X is not None and not isinstance(record, Prediction):
        raise InputError("X", f"values, for a {type(record).__name__}", "none: X is of predictions alone")
    if isinstance(record, Critical):
        drawn = figures_signal.critical(record)
    elif isinstance(record, PhaseDiagram):
        drawn = figures_signal.phase_diagram(record)
    elif isinstance(record, Signal):
        drawn = figures_signal.signal_figure(record)
    elif isinstance(record, Kernel):
        drawn = figures_records.kernel(record)
    elif isinstance(record, Prediction):
        drawn = figures_records.prediction(record, None if X is None else _first(X, np.shape(record.mean)[np.ndim(record.time)]))
    elif isinstance(record, Picture):
        drawn = figures_scaling.picture(record)
    elif isinstance(record, Claim):
        drawn = figures_records.claims([record], record.kind)
    elif isinstance(record, Check):
        drawn = figures_records.claims(record.claims, record.what)
    else:
        raise InputError("record", f"a {type(record).__name__}", NEED)
    return pictures.Figure(drawn)


def _first(X: Any, points: int) -> np.ndarray:
    """The first column of the test points."""
    values = door.values(X, "X")
    if not values.ndim or len(values) != points or not values.size:
        raise InputError("X", f"shape {values.shape}", f"the {points} test points of the prediction")
    return values.reshape(points, -1)[:, 0]
