"""Figures of signal propagation: each a function of the record, giving a Plotly figure."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from largen.activations.critical import Critical
from largen.activations.statistics import statistics
from largen.architecture.presets import mlp
from largen.report.figures import THEORY, WIDTHS, log_ticks, spread, style
from largen.report.figures_records import entitled
from largen.theory.signal.phase import PhaseDiagram
from largen.theory.signal.signal import Signal, signal

PLACES = ((1, 1), (1, 2), (2, 1), (2, 2))  # of four panels
DEPTH = 50  # layers of the picture of a critical point
STARTS = (0.25, 1.0, 4.0)  # sizes K^(1) it starts from, in units of K* (of 1 where K* = 0 or any)


def critical(record: Critical) -> go.Figure:
    """chi_par and chi_perp against K at the recommended C_W, or their ratio where there is none; K layer by layer beside it."""
    known = statistics(record.activation)
    K = np.geomspace(1e-3, min(known.K_max, 1e3), 300)
    m = known.moments(K)
    has = record.C_W is not None and record.C_b is not None
    titles = ["susceptibilities against size", "sizes against depth"] if has else ["χ⊥/χ∥ against size: never 1 with C_b ≥ 0"]
    fig = make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.12)
    if record.C_W is None or record.C_b is None:
        fig.add_scatter(x=K, y=np.where(m.dg > 1e-12 * m.slope, m.slope / m.dg, np.nan), mode="lines", name="χ⊥/χ∥", line_color=WIDTHS[3])
    else:
        for name, value, tint, dash in (("χ∥", m.dg, WIDTHS[3], "solid"), ("χ⊥", m.slope, WIDTHS[5], "dash")):  # equal for ReLU
            line = {"color": tint, "width": 2.5, "dash": dash}
            fig.add_scatter(x=K, y=record.C_W * value, mode="lines", name=name, line=line, row=1, col=1)
        if record.K_star:
            fig.add_vline(record.K_star, line={"color": THEORY, "dash": "dot"}, row=1, col=1)  # type: ignore[arg-type]
        unit, sizes = record.K_star or 1.0, []
        for i, start in enumerate(STARTS):
            net = mlp([1] * DEPTH, activation=record.activation, C_W=[1.0, *[record.C_W] * DEPTH], C_b=[0.0, *[record.C_b] * DEPTH])
            q = np.asarray(signal(net, np.array([[np.sqrt(start * unit)]])).q)[:, 0]
            sizes.append(q**2)
            line = {"color": WIDTHS[i], "width": 2}
            fig.add_scatter(x=np.arange(1, DEPTH + 2), y=q**2, mode="lines", name=f"K⁽¹⁾ = {start * unit:.3g}", line=line, row=1, col=2)
        fig.update_xaxes(title_text="layer l", row=1, col=2)
        fig.update_yaxes(title_text="K (output units squared)", **log_ticks(*spread(*sizes)), row=1, col=2)
    fig.add_hline(1.0, line={"color": THEORY, "width": 1}, layer="below", row=1, col=1)  # type: ignore[arg-type]
    fig.update_xaxes(title_text="K (mean square of a preactivation)", type="log", row=1, col=1)
    fig.update_yaxes(title_text="χ, a factor per layer" if has else "χ⊥/χ∥ (no unit)", row=1, col=1, rangemode="tozero")
    point = "no critical point" if record.C_W is None else f"{record.universality}, C_W = {record.C_W:.4g}, C_b = {record.C_b:.4g}"
    return entitled(style(fig), f"Criticality of {record.activation.name}: {point}")


def phase_diagram(record: PhaseDiagram) -> go.Figure:
    """The depth scale of correlations over (C_W, C_b), with the line between order and chaos."""
    scale = np.log10(np.clip(record.xi_c, 0.3, 1e3))
    ticks = [0.3, 1, 3, 10, 30, 100, 300, 1000]
    bar = {"title": "ξ_c (layers)", "tickvals": np.log10(ticks).tolist(), "ticktext": [f"{t:g}" for t in ticks[:-1]] + ["≥ 1000"]}
    fig = go.Figure(go.Heatmap(x=record.C_W, y=record.C_b, z=scale.T, colorscale="Viridis", colorbar=bar, hoverinfo="skip"))
    inside = (record.edge[0] <= record.C_W.max()) & (record.edge[1] <= record.C_b.max())
    inside &= (record.edge[0] >= record.C_W.min()) & (record.edge[1] >= record.C_b.min())
    edge = record.edge[:, inside]
    line = {"color": "#D55E00", "width": 3}
    fig.add_scatter(x=edge[0], y=edge[1], mode="lines", name="χ⊥ = 1, the edge of chaos", line=line)
    for name in np.unique(record.phase):
        where = np.argwhere(record.phase == name)
        i, j = where[np.abs(where - where.mean(0)).sum(1).argmin()]
        if len(where) > 0.01 * record.phase.size:
            label = {"text": name, "showarrow": False, "bgcolor": "rgba(255,255,255,0.75)"}
            fig.add_annotation(x=record.C_W[i], y=record.C_b[j], **label)
    fig.update_xaxes(title_text="C_W (variance of a weight times fan-in)", range=[record.C_W.min(), record.C_W.max()])
    fig.update_yaxes(title_text="C_b (variance of a bias)", range=[record.C_b.min(), record.C_b.max()])
    title = f"Phases of {record.activation.name} networks, and the depth scale of correlations"
    return entitled(style(fig, 480).update_layout(showlegend=True), title)


def signal_figure(record: Signal) -> go.Figure:
    """Sizes, susceptibilities and gradients, level by level; one colour a point, of at most six."""
    titles = ["RMS size q", "χ∥, of sizes", "χ⊥, of small differences", "mean squared gradient"]
    fig = make_subplots(2, 2, subplot_titles=titles, horizontal_spacing=0.14, vertical_spacing=0.2)
    place, points = np.arange(1, len(record.q) + 1), np.shape(record.q)[1]
    panels = ((place, record.q), (place[:-1], record.chi_par), (place[:-1], record.chi_perp), (place, record.gradient))
    for a, tint in enumerate(WIDTHS[:points]):
        for (row, col), (x, y) in zip(PLACES, panels, strict=True):
            entry = {"name": f"point {a}", "legendgroup": f"point {a}", "showlegend": row == col == 1}
            fig.add_scatter(x=x, y=np.asarray(y)[:, a], mode="lines", line={"color": tint, "width": 2}, **entry, row=row, col=col)
    fig.update_xaxes(title_text="level l")
    fig.update_xaxes(title_text="from level l to l + 1", row=1, col=2)
    fig.update_xaxes(title_text="from level l to l + 1", row=2, col=1)
    fig.update_yaxes(title_text="q (output units)", **log_ticks(*spread(record.q)), row=1, col=1)
    fig.update_yaxes(title_text="factor per level", row=1, col=2)
    fig.update_yaxes(title_text="factor per level", row=2, col=1)
    fig.update_yaxes(title_text="E Σ (∂z⁽ᴸ⁾/∂z⁽ˡ⁾)² (no unit)", **log_ticks(*spread(record.gradient)), row=2, col=2)
    some = f"{points} points" if points <= len(WIDTHS) else f"the first {len(WIDTHS)} of {points} points"
    return entitled(style(fig, 620).update_layout(legend_y=-0.15), f"Signals at infinite width, level by level: {some}")
