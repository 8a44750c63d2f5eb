"""The figures of a report: each a function of the records, giving a Plotly figure. Colours can be told apart by the colour-blind."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from largen.agreement.claim import Claim
from largen.agreement.study.finite import Finite
from largen.agreement.study.records import Control, Curves, Errors, Modes, Signals, Tangent
from largen.questions.reach import Reach
from largen.report import words

THEORY, BAND = "#1a1a1a", "rgba(26,26,26,0.13)"
WIDTHS = ["#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#0072B2"]
GRID = "#e6e8eb"


def colour(place: int, many: int) -> str:
    """A colour per width, the widest always the same strong one."""
    return "#D55E00" if place == many - 1 else WIDTHS[place % 3] if many <= 4 else WIDTHS[place % len(WIDTHS)]


def style(fig: go.Figure, height: int = 400) -> go.Figure:
    """The look of all figures: white, a light grid, the legend below."""
    titled = bool(fig.to_dict()["layout"].get("annotations"))
    fig.update_layout(
        template="none",
        height=height,
        margin={"l": 70, "r": 20, "t": 46 if titled else 14, "b": 60},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14, "color": "#1a1a1a"},
        legend={"orientation": "h", "yanchor": "top", "y": -0.22, "x": 0},
        hovermode="closest",
    )
    axis = {"gridcolor": GRID, "linecolor": "#9aa0a6", "ticks": "outside", "zeroline": False, "title_standoff": 8}
    fig.update_xaxes(**axis, title_font_size=14)
    fig.update_yaxes(**axis, title_font_size=14)
    fig.update_annotations(font_size=15)
    return fig


def _dots(x: Any, y: Any, se: Any, name: str, tint: str, **more: Any) -> go.Scatter:
    bars = {"type": "data", "array": [2 * s for s in se], "thickness": 1.2, "width": 3}
    return go.Scatter(x=x, y=y, error_y=bars, mode="markers", name=name, marker={"color": tint, "size": 8}, **more)


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis with whole numbers at its ticks: eight of them or so, whether it spans a factor of 2 or a hundred powers of ten."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = range(first, last + 1, max(1, (last - first) // 8))
    within = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 10 * low else (1, 2, 5) if high < 1e4 * low else (1,)
    values = [m * 10.0**e for e in powers for m in within if low * 0.9 <= m * 10.0**e <= high * 1.1]
    return {"type": "log", "tickvals": values, "ticktext": [f"{v:g}" for v in values]}


def spread(*values: Any) -> tuple[float, float]:
    """The smallest and the largest positive number there is, for a logarithmic axis."""
    seen = np.concatenate([np.ravel(np.asarray(v, float)) for v in values])
    seen = seen[np.isfinite(seen) & (seen > 0)]
    return (float(seen.min()), float(seen.max())) if seen.size else (1.0, 1.0)


def _widths_axis(widths: tuple[int, ...]) -> dict[str, Any]:
    return {
        "type": "log",
        "tickvals": list(widths),
        "ticktext": [str(w) for w in widths],
        "title_text": "width n (units of the first hidden layer)",
    }


def depth(found: Reach) -> go.Figure:
    """Susceptibilities, layer by layer."""
    place = np.arange(1, len(found.chi_perp) + 1)
    fig = go.Figure()
    for name, values, tint in (("χ⊥, small differences", found.chi_perp, WIDTHS[5]), ("χ∥, sizes", found.chi_par, WIDTHS[3])):
        fig.add_scatter(x=place, y=values, mode="lines+markers", name=name, line={"color": tint, "width": 2.5})
    fig.add_hline(1.0, line={"color": THEORY, "dash": "dash", "width": 1})  # type: ignore[arg-type]
    fig.update_xaxes(title_text="from layer l to l + 1", dtick=max(1, len(place) // 10))
    fig.update_yaxes(title_text="factor per layer (no unit)", rangemode="tozero")
    return style(fig, 320)


def finite(found: Finite) -> go.Figure:
    """Relative sizes of order 1/n, by width."""
    fig = go.Figure()
    n = np.array(found.widths)
    for tint, one in zip((WIDTHS[5], WIDTHS[3], WIDTHS[1]), found.claims, strict=True):
        line, name = {"color": tint, "width": 2}, words.ORDER_1_N[one.quantity]
        fig.add_scatter(x=n, y=one.theory / n, mode="lines", name=name, line=line, legendgroup=name)
        seen = np.array(one.means) / n, np.array(one.errors) / n
        fig.add_trace(_dots(n, *seen, "real networks", tint, legendgroup=name, showlegend=False))
    fig.add_hline(found.tolerance, line={"color": THEORY, "dash": "dash", "width": 1})  # type: ignore[arg-type]
    fig.update_xaxes(**_widths_axis(found.widths))
    fig.update_yaxes(title_text="relative to infinite width (no unit)", rangemode="tozero")
    return style(fig, 360)


def signals(s: Signals) -> go.Figure:
    """Sizes and correlations by layer; the widths stand side by side."""
    titles = ["mean square of the preactivations", "mean cosine between different points"]
    fig = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.12)
    place = np.arange(1, len(s.layers) + 1)
    line = {"color": THEORY, "width": 2}
    fig.add_scatter(x=place, y=s.size, mode="lines+markers", name="theory (n → ∞)", line=line, marker_size=4, row=1, col=1)
    fig.add_scatter(x=place, y=s.cosine, mode="lines+markers", name="theory", line=line, marker_size=4, showlegend=False, row=1, col=2)
    for i, width in enumerate(s.widths):
        tint, label = colour(i, len(s.widths)), f"width {width} ({s.networks[i]} networks, ± 2 s.e.)"
        at = place + 0.08 * (i - (len(s.widths) - 1) / 2)
        fig.add_trace(_dots(at, s.measured_size[i], s.measured_size_se[i], label, tint, legendgroup=label), 1, 1)
        cosine, se = s.measured_cosine[i], s.measured_cosine_se[i]
        fig.add_trace(_dots(at[: len(cosine)], cosine, se, label, tint, legendgroup=label, showlegend=False), 1, 2)
    fig.update_xaxes(title_text="affine layer (the last gives the outputs)", dtick=1, range=[0.6, len(s.layers) + 0.4])
    fig.update_yaxes(title_text="z² (output units squared)", row=1, col=1, rangemode="tozero")
    fig.update_yaxes(title_text="cosine (no unit)", row=1, col=2)
    return style(fig)


def entries(t: Tangent, width: int) -> go.Figure:
    """The NTK entry by entry."""
    span = [min(t.entries_theory), max(t.entries_theory)]
    line = {"color": THEORY, "width": 1.5, "dash": "dash"}
    fig = go.Figure(go.Scatter(x=span, y=span, mode="lines", name="equal", line=line))
    label = f"mean over networks of width {width} (± 2 s.e.)"
    fig.add_trace(_dots(t.entries_theory, t.entries_measured, t.entries_se, label, colour(3, 4), opacity=0.6))
    fig.update_xaxes(title_text="theory's NTK at n → ∞ (output² per unit time)")
    fig.update_yaxes(title_text="measured NTK at the start")
    return style(fig)


def falls(claims: tuple[Claim, ...], title: str) -> go.Figure:
    """Quantities that vanish with width, and the fitted powers."""
    fig = go.Figure()
    for i, one in enumerate(claims):
        tint, n = WIDTHS[(3, 5)[i % 2]], np.array(one.widths, dtype=float)
        fig.add_trace(_dots(one.widths, one.means, one.errors, words.quantity(one), tint))
        if one.exponent is not None:
            line, fitted = {"color": tint, "width": 1.5, "dash": "dash"}, one.means[-1] * (n / n[-1]) ** -one.exponent
            fig.add_scatter(x=one.widths, y=fitted, mode="lines", name=f"n^-{one.exponent:.2f}", line=line)
    means = [m for one in claims for m in one.means]
    fig.update_xaxes(**_widths_axis(claims[0].widths))
    fig.update_yaxes(title_text=title, **log_ticks(min(means) / 2, max(means) * 2))
    return style(fig)


def curves(c: Curves) -> go.Figure:
    """Learning curves in theory's band."""
    fig = make_subplots(1, 2, subplot_titles=["train loss", "test loss"], shared_yaxes=True, horizontal_spacing=0.05)
    time = list(c.time[1:])
    parts = (
        ("train", c.theory_train, c.theory_train_sd, c.train, c.train_networks),
        ("test", c.theory_test, c.theory_test_sd, c.test, c.test_networks),
    )
    for col, (kind, mean, sd, by_width, single) in enumerate(parts, 1):
        ends = c.of(f"{kind} loss")
        at = [c.eta * e.step for e in ends if e.step is not None]
        label = "networks, extrapolated to n → ∞ (± 2 s.e.)"
        traces = [_band(time, mean[1:], sd[1:])]
        traces += [
            _line(time, by_width[i][1:], f"width {w}, mean of {c.networks[i]}", colour(i, len(c.widths)), dash="dot")
            for i, w in enumerate(c.widths[:-1])
        ]
        traces += [_line(time, one[1:], f"width {c.widths[-1]}, one by one", colour(3, 4), width=1) for one in single]
        traces += [_line(time, mean[1:], "theory, mean", THEORY, width=2.5)]
        traces += [_dots(at, [e.intercept for e in ends], [e.error for e in ends], label, "#0072B2")]
        names = [str(trace.name) for trace in traces]
        for k, (name, trace) in enumerate(zip(names, traces, strict=True)):
            trace.update(legendgroup=name, showlegend=col == 1 and name not in names[:k])
            fig.add_trace(trace, 1, col)
    low = min(by[-1] for by in (*c.train, *c.test))
    fig.update_xaxes(title_text="flow time η × steps", **log_ticks(time[0], time[-1]))
    fig.update_yaxes(**log_ticks(low / 3, 4 * c.theory_test[1]))
    fig.update_yaxes(title_text="loss per point, ½ Σ (z − y)²", row=1, col=1)
    return style(fig, 470)


def _line(x: Any, y: Any, name: str, tint: str, width: float = 1.5, dash: str = "solid") -> go.Scatter:
    return go.Scatter(
        x=x, y=y, mode="lines", name=name, line={"color": tint, "width": width, "dash": dash}, opacity=0.55 if width == 1 else 1
    )


def _band(x: list[float], mean: Any, sd: Any) -> go.Scatter:
    upper = [m + 2 * s for m, s in zip(mean, sd, strict=True)]
    lower = [max(m - 2 * s, 0.05 * m) for m, s in zip(mean, sd, strict=True)]
    outline = {"x": x + x[::-1], "y": upper + lower[::-1], "fill": "toself", "fillcolor": BAND, "line": {"width": 0}}
    return go.Scatter(**outline, mode="lines", hoverinfo="skip", name="theory ± 2 s.d. between networks")


def control(c: Control, curve: Curves) -> go.Figure:
    """One network against its own linearisation."""
    fig = go.Figure()
    time = list(curve.time[1:])
    for name, real, line, tint in (("train", c.train, c.control_train, "#D55E00"), ("test", c.test, c.control_test, "#0072B2")):
        fig.add_trace(_line(time, line[1:], f"{name}: its linearisation (own start, own NTK)", tint, width=2))
        marker = {"color": tint, "size": 8, "symbol": "circle-open", "line": {"width": 2}}
        fig.add_scatter(x=time, y=real[1:], mode="markers", name=f"{name}: the real network", marker=marker)
    values = [*c.train[1:], *c.test[1:]]
    fig.update_xaxes(title_text="flow time η × steps", **log_ticks(time[0], time[-1]))
    fig.update_yaxes(title_text="loss per point, ½ Σ (z − y)²", **log_ticks(min(values), max(values)))
    return style(fig)


def modes(m: Modes) -> go.Figure:
    """Learning rate of each mode against its eigenvalue."""
    span = [min(m.eigenvalue), max(m.eigenvalue)]
    fig = go.Figure(go.Scatter(x=span, y=span, mode="lines", name="theory: rate = eigenvalue", line={"color": THEORY, "width": 2}))
    kept: list[float] = list(span)
    for i, width in enumerate(m.widths):
        good = [k for k, r in enumerate(m.rate[i]) if r > 0.05 * m.eigenvalue[k]]
        x, y, se = ([v[k] for k in good] for v in (m.eigenvalue, m.rate[i], m.rate_se[i]))
        kept += y
        fig.add_trace(_dots(x, y, se, f"width {width} (± 2 s.e.)", colour(3 * (i == len(m.widths) - 1), 4)))
    fig.update_xaxes(title_text="eigenvalue of theory's NTK (1 / time)", **log_ticks(*span))
    fig.update_yaxes(title_text="measured rate of decay (1 / time)", **log_ticks(min(kept), max(kept)))
    return style(fig, 440)


def errors(e: Errors) -> go.Figure:
    """Test errors, theory beside measured."""
    wide = e.widths[-1]
    theory = [
        ("NNGP (Bayesian posterior)", e.nngp, 0.0),
        ("NTK, trained to the end", e.ntk_end, 0.0),
        ("NTK, same time as the networks", e.ntk, 0.0),
        (f"average of {e.ensemble_size} networks", e.ensemble, 0.0),
        ("one network", e.single, e.single_sd),
    ]
    scale = 100.0 if e.measure == "fraction wrong" else 1.0
    fig = go.Figure()
    names, values, spread = ([t[i] for t in theory] for i in range(3))
    bars = {"type": "data", "array": [2 * scale * float(s) or None for s in spread], "thickness": 1.2}
    fig.add_bar(
        y=names,
        x=[scale * float(v) for v in values],
        error_x=bars,
        orientation="h",
        name="theory (bar: ± 2 s.d. between networks)",
        marker={"color": "#c9ced4"},
    )
    for i, width in enumerate(e.widths):
        error = {"type": "data", "array": [2 * scale * e.measured_se[i]], "thickness": 1.2}
        marker = {"color": colour(i, len(e.widths)), "size": 10}
        fig.add_scatter(
            y=["one network"],
            x=[scale * e.measured[i]],
            error_x=error,
            mode="markers",
            name=f"real, width {width} (± 2 s.e.)",
            marker=marker,
        )
    marker = {"color": colour(3, 4), "size": 11, "symbol": "diamond"}
    fig.add_scatter(y=[names[3]], x=[scale * e.ensemble_measured], mode="markers", name=f"real, width {wide}, averaged", marker=marker)
    unit = "test error (% of points in the wrong class)" if scale == 100 else "test error (root mean square, units of the target)"
    fig.update_xaxes(title_text=unit, rangemode="tozero")
    style(fig, 400).update_layout(margin={"l": 240})
    return fig
