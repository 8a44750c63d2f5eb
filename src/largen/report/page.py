"""The page: one HTML file with everything in it, readable without a network."""

from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from largen.agreement.claim import Claim
from largen.report import figures, words
from largen.report.captions import captions
from largen.report.pictures import fitting
from largen.report.schema import Report

MARKS = {"agrees": ("✓", "agrees"), "disagrees": ("✗", "disagrees"), "undecided": ("?", "undecided")}

TITLES = {
    "agrees": "Theory and real networks agree",
    "disagrees": "Theory and real networks disagree",
    "undecided": "Theory against real networks: undecided",
}

STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{margin:0;background:#fff;color:#1a1a1a;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1060px;margin:0 auto;padding:28px 20px 60px}h1{font-size:1.75rem;line-height:1.25;margin:0 0 6px}
h2{font-size:1.3rem;margin:44px 0 8px;padding-top:14px;border-top:1px solid #e1e4e8}p{margin:8px 0;max-width:82ch}
.sub{color:#4a5058}.lead{font-size:1.12rem;margin:16px 0 18px}.lead .badge{margin-right:8px}
.badge{display:inline-block;font-weight:600;font-size:.85rem;line-height:1.6;padding:1px 10px;border-radius:20px;white-space:nowrap}
.agrees{background:#e0f3e8;color:#0b5a33}.disagrees{background:#fde3e0;color:#98150b}.undecided{background:#fdf0d5;color:#744a00}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(185px,1fr));gap:12px;margin:18px 0}
.card{border:1px solid #e1e4e8;border-radius:10px;padding:12px 14px}.card b{display:block;font-size:1.45rem;line-height:1.25}
.card span{display:block;color:#4a5058;font-size:.86rem;line-height:1.35}
figure{margin:16px 0 6px}figcaption{color:#4a5058;font-size:.92rem;max-width:90ch}
nav a{display:inline-block;margin:2px 14px 2px 0;color:#0b4f8a}
pre{background:#f6f7f8;border-radius:8px;padding:10px 12px;overflow-x:auto;font-size:.86rem}
details{margin:10px 0}summary{cursor:pointer;color:#0b4f8a}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;margin:8px 0}
th,td{text-align:right;padding:4px 10px;border-bottom:1px solid #eceef0;white-space:nowrap}th:first-child,td:first-child{text-align:left}
@media(max-width:700px){main{padding:18px 12px 40px}h1{font-size:1.4rem}}@media print{details{display:none}}
"""


def badge(verdict: str) -> str:
    """A verdict as a coloured word with a mark."""
    mark, name = MARKS[verdict]
    return f'<span class="badge {name}">{mark} {name}</span>'


def figure(fig: go.Figure, name: str, caption: str) -> str:
    """A figure with its caption, which also is its description for those who cannot see it."""
    config = {"displayModeBar": False, "responsive": True}
    div = fig.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{name}", config=config, **fitting(fig))
    box = f'<div class="wide">{div}</div>'  # scrolls where panels side by side are wider than the window
    return f'<figure role="group" aria-label="{escape(caption, quote=True)}">{box}<figcaption>{escape(caption)}</figcaption></figure>'


def table(claims: tuple[Claim, ...]) -> str:
    """The numbers behind a verdict."""
    rows = [f"<tr><td>{escape(words.quantity(c))}{''.join(map(_cell, words.row(c)))}</td><td>{badge(c.verdict)}</td></tr>" for c in claims]
    head = "<tr><th>quantity</th><th>theory</th><th>networks, n → ∞ (± s.e.)</th><th>z</th><th>would notice</th><th>verdict</th></tr>"
    summary = f"<summary>The numbers ({len(rows)} comparisons)</summary>"
    return f'<details>{summary}<div class="wide"><table>{head}{"".join(rows)}</table></div></details>'


def _cell(text: str) -> str:
    return f"</td><td>{text}"


def cards(report: Report) -> str:
    """The key numbers."""
    e, c, (moved,) = report.study.errors, report.study.curves, report.study.tangent.of("movement")
    test = c.of("test loss")[-1]
    nngp, single = words.score(e.nngp, e.measure), words.score(e.single, e.measure)
    values = [
        (
            words.number(test.theory),
            f"test loss by theory; real networks: {words.limit(test)}, extrapolated, and {words.number(c.test[-1][-1])} at width {c.widths[-1]}",
        ),
        (words.score(e.measured[-1], e.measure), f"test error of one real network of width {e.widths[-1]}; by theory: {single}"),
        (
            words.score(e.ntk_end, e.measure),
            f"test error of the NTK machine, the average of all such networks trained to the end (NNGP: {nngp})",
        ),
        (words.percent(moved.means[-1]), f"how far the NTK moved in training at width {moved.widths[-1]}; theory: 0 as n → ∞"),
    ]
    made = "".join(f'<div class="card"><b>{escape(v)}</b><span>{escape(t)}</span></div>' for v, t in values)
    return f'<div class="cards">{made}</div>'


def sections(report: Report) -> list[tuple[str, str, str]]:
    """(name, title, body) of every section with a verdict."""
    s, text = report.study, captions(report)

    def shown(name: str, fig: go.Figure) -> str:
        return figure(fig, name, text[name])

    control = s.curves.control
    fits = s.tangent.of("movement") + s.curves.of("distance")
    ntk = shown("ntk", figures.entries(s.tangent, report.setup.widths[-1]))
    ntk += shown("movement", figures.falls(fits, "relative to its size (no unit)"))
    curves = shown("curves", figures.curves(s.curves))
    if control is not None:
        curves += shown("control", figures.control(control, s.curves))
    signals, modes = shown("signals", figures.signals(s.signals)), shown("modes", figures.modes(s.modes))
    errors = shown("errors", figures.errors(s.errors))
    return [
        ("signals", "Signals before training", signals + table(s.signals.claims)),
        ("tangent", "The neural tangent kernel", ntk + table(s.tangent.claims)),
        ("curves", "Learning curves", curves + table(s.curves.claims)),
        ("modes", "Learning speed, mode by mode", modes + table(s.modes.claims)),
        ("errors", "Test error", errors + table(s.errors.claims)),
    ]


def page(report: Report) -> str:
    """The whole page."""
    title = f"largen report: {report.data.name}"
    s, d, parts = report.setup, report.data, sections(report)
    links = "".join(f'<a href="#{name}">{escape(heading)} {MARKS[report.verdicts[name][0]][0]}</a>' for name, heading, _ in parts)
    net = "".join(f"<p>{escape(text)}</p>" for text in report.network.words)
    notes = "".join(f"<li>{escape(note)}</li>" for note in d.notes)
    body = "".join(_section(name, heading, *report.verdicts[name], content) for name, heading, content in parts)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><main><header><h1>{TITLES[report.verdict]}</h1>
<p class="sub">{escape(d.name)}: {d.train} train and {d.test} test points, {d.columns} inputs, {d.kind}</p>
<p class="lead">{badge(report.verdict)}{escape(report.headline)}</p>{cards(report)}<nav aria-label="Sections"><a href="#depth">How deep does it reach?</a><a href="#finite">How far from infinite is it?</a>{links}</nav></header>
<section id="network"><h2>The network and the data</h2>{net}<pre>{escape(report.network.code)}</pre><ul>{notes}</ul></section>
{depth(report)}{far(report)}{body}<section id="method"><h2>How it was measured</h2>{method(report)}
<p class="sub">largen {escape(report.largen)}, {s.seconds:.0f} s. The same numbers, machine-readable: report.json beside this page.</p>
</section></main></body></html>
"""


def depth(report: Report) -> str:
    """Whether the network is critical, how deep it reaches at this width, what to change."""
    found = report.depth
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in found.sentences)
    shown = "" if not found.chi_perp else figure(figures.depth(found), "depth", captions(report)["depth"])
    return f'<section id="depth"><h2>How deep does it reach?</h2>{text}{shown}</section>'


def far(report: Report) -> str:
    """What is of first order in 1/n: how large, how wide would do, what it changes after training."""
    found = report.finite
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in words.far(found))
    shown = "" if not found.claims else figure(figures.finite(found), "finite", captions(report)["finite"]) + table(found.claims)
    return f'<section id="finite"><h2>How far from infinite is it?</h2>{text}{shown}</section>'


def _section(name: str, heading: str, verdict: str, sentence: str, content: str) -> str:
    return f'<section id="{name}"><h2>{escape(heading)} {badge(verdict)}</h2><p>{escape(sentence)}</p>{content}</section>'


def method(report: Report) -> str:
    """How everything was measured, in words."""
    s = report.setup
    trained = ", ".join(f"{n} of width {w}" for n, w in zip(s.networks, s.widths, strict=True))
    looked = ", ".join(f"{n} of width {w}" for n, w in zip(s.draws, s.widths, strict=True))
    return (
        f"<p>Trained networks: {trained}; looked at untrained: {looked}; seed {s.seed}. All by full-batch gradient descent on "
        f"½ Σ (z − y)², step η = {words.number(s.eta)} ({s.pace:g} / λ_max of theory's NTK), {s.steps} steps, flow time "
        f"{words.number(s.time)}.</p><p>Each number is averaged within a network, then over networks, and extrapolated to n → ∞ by a "
        "polynomial in 1/n. z is the difference from theory in standard errors, which include an estimate of what cutting the series "
        "in 1/n leaves out; "
        f"|z| ≥ {s.threshold:g} disagrees (by chance: 6 in 100,000). A comparison counts as decided if it would have noticed a "
        f"difference of {words.percent(s.notice)}. Networks are measured and theory is computed by separate code.</p>"
    )
