"""`lg.figure`: the picture of a record."""

from typing import Any

from largen.activations.critical import Critical
from largen.errors import InputError
from largen.theory.signal.phase import PhaseDiagram
from largen.theory.signal.signal import Signal


def figure(record: Any) -> Any:
    """The Plotly figure of a record: of `lg.critical` (chi and K against size), `lg.phase_diagram` and `lg.signal`.

    Returns a `plotly.graph_objects.Figure`: `.show()` opens it, `.write_html(path)` saves it. Raises `InputError` for anything else.

    >>> import largen as lg
    >>> fig = lg.figure(lg.critical("tanh"))
    >>> [axis.title.text for axis in fig.select_xaxes()]
    ['K', 'layer l']
    """
    from largen.report import figures_signal as drawn  # plotly is slow to import

    if isinstance(record, Critical):
        return drawn.critical(record)
    if isinstance(record, PhaseDiagram):
        return drawn.phase_diagram(record)
    if isinstance(record, Signal):
        return drawn.signal_figure(record)
    raise InputError("record", f"a {type(record).__name__}", "what lg.critical, lg.phase_diagram or lg.signal returned")
