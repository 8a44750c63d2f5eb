"""Figures of parametrizations: regimes over slices of their space."""

import numpy as np
import plotly.graph_objects as go

from largen.parametrizations.picture import Picture
from largen.report.figures import style
from largen.report.figures_records import entitled

TINTS = {"feature learning": "#D55E00", "kernel": "#0072B2", "trivial": "#999999", "unstable": "#E8E4DA"}
TITLES = {
    "richness": "The richness scale, a gauge direction and a forbidden one",
    "stable": "A slice of the stable parametrizations",
}


def picture(record: Picture) -> go.Figure:
    """Every point in the colour of its regime; those of the literature by name."""
    fig, columns = go.Figure(), record._columns()
    deep = len(record.axes) == 3
    kind = go.Scatter3d if deep else go.Scatter
    for name, tint in TINTS.items():
        chosen = np.asarray(columns["regime"]) == name
        if chosen.any():
            where = dict(zip("xyz", (columns[axis][chosen] for axis in "xyz"[: len(record.axes)]), strict=False))
            marker = {"color": tint, "size": 4 if deep else 11, "symbol": "circle" if deep else "square"}
            marker["opacity"] = 0.4 if deep and name == "unstable" else 1.0
            fig.add_trace(kind(**where, mode="markers", name=name, marker=marker))
    places = dict(zip("xyz", zip(*record.marks.values(), strict=True), strict=False))
    marker = {"color": "black", "size": 6 if deep else 12, "symbol": "cross"}
    fig.add_trace(kind(**places, mode="markers+text", text=[*record.marks], textposition="top center", marker=marker, showlegend=False))
    titles = {f"{letter}axis_title_text": name for letter, name in zip("xyz", record.axes, strict=False)}
    fig.update_layout(
        scene={f"{letter}axis": {"title": {"text": name}} for letter, name in zip("xyz", record.axes, strict=False)} if deep else {}
    )
    return entitled(style(fig, 620).update_layout({} if deep else titles), TITLES[record.kind])
