"""Figures of predictions, kernels and claims: each a function of the record, giving a Plotly figure whose title says what is drawn."""

import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from largen.agreement.claim import Claim
from largen.prediction.record import Prediction
from largen.report.figures import THEORY, WIDTHS, log_ticks, spread, style
from largen.report.pictures import least
from largen.theory.kernels import Kernel

MOST = 500  # points of a kernel that are drawn
CLAIMS = 12  # panels
ROW = 3  # panels side by side
LETTER = 9  # pixels of a letter of a title
GAP = 0.17  # between heat maps, for their scales
NAMES, TINTS = ("NNGP K", "NTK Θ"), (WIDTHS[5], WIDTHS[3])  # of kernels
HOWS = {"flow": "gradient flow", "descent": "gradient descent", "newton": "Newton's method", "bayes": "Bayesian posterior"}


def entitled(fig: go.Figure, title: str) -> go.Figure:
    """The figure with a title over it."""
    lines = textwrap.wrap(title, least(fig) // LETTER)
    before, height = fig.layout.margin.t, fig.layout.height  # type: ignore[attr-defined]
    top = before + 30 + 20 * len(lines)
    place = {"x": 0.02, "yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 36}}  # below Plotly's row of buttons
    return fig.update_layout(title={"text": "<br>".join(lines), "font": {"size": 16}, **place}, margin_t=top, height=height + top - before)


def prediction(record: Prediction, x: np.ndarray | None) -> go.Figure:
    """Means with bands of two standard deviations, against x (m,) or the number of the point; one colour an output."""
    mean, std = np.asarray(record.mean), None if record.std is None else np.asarray(record.std)
    time = np.asarray(record.time, float)
    if time.ndim:  # the last of several times
        mean, std, time = mean[-1], None if std is None else std[-1], time[-1]
    mean = mean.reshape(len(mean), -1)
    std = None if std is None else std.reshape(mean.shape)
    place = np.arange(len(mean)) if x is None else x
    order = np.argsort(place, kind="stable")
    fig, several = go.Figure(), mean.shape[1] > 1
    drawn = min(mean.shape[1], len(WIDTHS))
    for i, tint in enumerate(WIDTHS[:drawn]):
        name = f"output {i}" if several else "mean"
        at, middle = place[order], mean[order, i]
        if std is not None:
            outline = np.concatenate([middle + 2 * std[order, i], (middle - 2 * std[order, i])[::-1]])
            fill = f"rgba({', '.join(str(int(tint[k : k + 2], 16)) for k in (1, 3, 5))}, 0.15)"
            band = {"x": np.concatenate([at, at[::-1]]), "y": outline, "fill": "toself", "fillcolor": fill, "line": {"width": 0}}
            fig.add_scatter(**band, mode="lines", hoverinfo="skip", legendgroup=name, name=f"{name} ± 2 s.d.", showlegend=not several)
        fig.add_scatter(x=at, y=middle, mode="lines+markers", name=name, legendgroup=name, line={"color": tint, "width": 2.5})
    fig.update_xaxes(title_text="test point (number)" if x is None else "first input column")
    fig.update_yaxes(title_text="output (units of the targets)")
    when = "" if record.how == "bayes" else f", time {time:g}" if np.isfinite(time) else ", trained to the end"
    band = "" if std is None else " ± 2 standard deviations of the function"
    some = f", the first {drawn} of {mean.shape[1]} outputs" if drawn < mean.shape[1] else ""
    return entitled(style(fig), f"Prediction, {HOWS.get(record.how, record.how)}{when}: mean{band}{some}")


def kernel(record: Kernel) -> go.Figure:
    """Heat maps of NNGP and NTK (the last layer of several), and beside them the eigenvalues where they are of the points with themselves."""
    there = [(name, part, tint) for name, part, tint in zip(NAMES, (record.nngp, record.ntk), TINTS, strict=True) if part is not None]
    layered, shape = len(np.shape(there[0][1])) == 3, np.shape(there[0][1])[-2:]
    cut = (*((-1,) if layered else ()), slice(MOST), slice(MOST))
    names, found = [name for name, _, _ in there], [np.asarray(part[cut], float) for _, part, _ in there]
    symmetric = all(part.shape[0] == part.shape[1] and np.allclose(part, part.T) for part in found)
    panels = len(found) + symmetric
    fig = make_subplots(1, panels, subplot_titles=[*names, *(["eigenvalues"] if symmetric else [])], horizontal_spacing=GAP)
    width = (1 - GAP * (panels - 1)) / panels
    for col, values in enumerate(found, 1):
        bar = {"x": col * width + (col - 1) * GAP + 0.005, "len": 1, "thickness": 10, "title": {"text": ""}}
        fig.add_trace(go.Heatmap(z=values, colorscale="Viridis", colorbar=bar, name=names[col - 1]), 1, col)
        fig.update_xaxes(title_text="point j", row=1, col=col)
        fig.update_yaxes(title_text="point i", autorange="reversed", row=1, col=col)
    if symmetric:
        modes = [np.linalg.eigvalsh(values)[::-1] for values in found]
        for (name, _, tint), values in zip(there, modes, strict=True):
            seen = np.where(values > 0, values, np.nan)  # none on a logarithmic axis
            line = {"color": tint, "width": 2}
            fig.add_scatter(x=np.arange(1, len(seen) + 1), y=seen, mode="lines+markers", name=name, line=line, row=1, col=panels)
        fig.update_xaxes(title_text="number, largest first", row=1, col=panels)
        fig.update_yaxes(title_text="eigenvalue (output²; Θ: per unit time)", **log_ticks(*spread(*modes)), row=1, col=panels)
    some = f", the first {MOST} points" if max(shape) > MOST else ""
    layer = ", the last of its layers" if layered else ""
    return entitled(style(fig), f"Kernels at infinite width of {shape[0]} x {shape[1]} points{layer}{some}")


def claims(found: Sequence[Claim], what: str) -> go.Figure:
    """What real networks of each width measured, with two standard errors, and theory's value at infinite width as a line."""
    shown = found[:CLAIMS]
    rows, columns = -(-len(shown) // ROW), min(ROW, len(shown))
    titles = [f"{claim.name}: {claim.verdict}" for claim in shown]
    fig = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=min(0.25, 0.5 / rows))
    for i, claim in enumerate(shown):
        row, col = i // ROW + 1, i % ROW + 1
        bars = {"type": "data", "array": 2 * np.asarray(claim.errors, float), "thickness": 1.2, "width": 3}
        measured = {"x": claim.widths, "y": claim.means, "error_y": bars, "marker": {"color": WIDTHS[3], "size": 8}}
        fig.add_scatter(**measured, mode="markers", name="real networks ± 2 s.e.", showlegend=i == 0, legendgroup="real", row=row, col=col)
        ends, line = [min(claim.widths), max(claim.widths)], {"color": THEORY, "width": 2}
        level = {"x": ends, "y": [claim.theory] * 2, "mode": "lines", "name": "theory (n → ∞)", "line": line}
        fig.add_scatter(**level, showlegend=i == 0, legendgroup="theory", row=row, col=col)
        fig.update_xaxes(
            title_text="width n (units)", type="log", tickvals=list(claim.widths), ticktext=[str(n) for n in claim.widths], row=row, col=col
        )
        fig.update_yaxes(title_text="in units of theory" if claim.theory == 1 else "value, relative to its scale", row=row, col=col)
    some = f", the first {len(shown)} of {len(found)} claims" if len(shown) < len(found) else ""
    return entitled(style(fig, 150 + 260 * rows).update_layout(legend_y=-0.36 / rows), f"Theory against real networks: {what}{some}")
