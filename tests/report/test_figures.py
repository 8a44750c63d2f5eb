"""`lg.figure`: what is drawn is what the record holds, no two lines of a panel share a colour, axes and titles say what they are."""

from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.errors import InputError
from largen.report import pictures
from largen.report.figures import log_ticks

X = np.random.default_rng(0).normal(size=(9, 2))
Y = np.stack([np.sin(X[:, 0]), np.cos(X[:, 1])], 1)
NET = lg.mlp([16, 16], 2, "relu", C_W=2.0)


def examine(fig: Any) -> None:
    """What holds for every figure."""
    assert fig.layout.title.text and type(fig).__name__ == "Figure"
    assert all(axis.title.text for axis in (*fig.select_xaxes(), *fig.select_yaxes()))
    lines = [trace for trace in fig.data if trace.type == "scatter" and trace.mode != "markers" and trace.fill is None]
    colours = Counter((trace.xaxis, trace.line.color) for trace in lines)
    assert not lines or max(colours.values()) == 1, colours
    assert all(trace.line.color for trace in lines)


def test_predictions_are_curves_in_bands() -> None:
    found = lg.predict(NET, X[:5], Y[:5], X, time=2.0)
    fig = lg.figure(found, X)
    examine(fig)
    band, mean = fig.data[0], fig.data[1]
    order = np.argsort(X[:, 0])
    assert np.array_equal(mean.x, X[order, 0]) and np.array_equal(mean.y, found.mean[order, 0])
    np.testing.assert_allclose(np.asarray(band.y)[:9] - mean.y, 2 * found.std[order, 0])
    assert len(fig.data) == 4 and "time 2" in fig.layout.title.text and "2 standard deviations" in fig.layout.title.text
    assert fig.layout.xaxis.title.text == "first input column"
    bare = lg.figure(lg.predict(NET, X[:5], Y[:5, 0], X, how="bayes", ridge=0.1))
    examine(bare)
    assert list(bare.data[1].x) == list(range(9)) and "time" not in bare.layout.title.text
    times = lg.predict(NET, X[:5], Y[:5, 0], X, time=np.array([0.5, 1.0]))
    assert np.array_equal(lg.figure(times).data[1].y, times.mean[-1]) and "time 1" in lg.figure(times).layout.title.text
    alone = lg.figure(lg.predict(NET, X[:5], Y[:5], X, time=1.0, params=lg.init(NET, 2, jax.random.key(0))))
    assert lg.figure(lg.predict(NET, X[:5], Y[:5], X, time=1.0, params=lg.init(NET, 2, jax.random.key(0))), X).data[0].x[0] == X[:, 0].min()
    assert len(alone.data) == 2 and "deviations" not in alone.layout.title.text  # one network has no band


def test_kernels_are_heat_maps_and_spectra() -> None:
    found = lg.kernel(NET, X)
    fig = lg.figure(found)
    examine(fig)
    assert np.array_equal(fig.data[0].z, found.nngp) and np.array_equal(fig.data[1].z, found.ntk)
    np.testing.assert_allclose(fig.data[3].y, np.linalg.eigvalsh(found.ntk)[::-1])
    assert fig.layout.yaxis3.type == "log" and fig.data[2].line.color != fig.data[3].line.color
    between = lg.figure(lg.kernel(NET, X, X[:4]))
    examine(between)
    assert len(between.data) == 2 and "9 x 4" in between.layout.title.text
    layers = lg.kernel(NET, X, layer="all")
    assert np.array_equal(lg.figure(layers).data[1].z, layers.ntk[-1]) and "last of its layers" in lg.figure(layers).layout.title.text


def test_signals_have_one_colour_a_point() -> None:
    found = lg.signal(NET, X)
    fig = lg.figure(found)
    examine(fig)
    assert len(fig.data) == 4 * 6 and "first 6 of 9" in fig.layout.title.text
    assert np.array_equal(fig.data[2].y, found.chi_perp[:, 0])


def test_critical_points_and_phases_say_what_they_are() -> None:
    fig = lg.figure(lg.critical("relu"))
    examine(fig)
    assert "relu" in fig.layout.title.text and "C_W = 2" in fig.layout.title.text
    examine(lg.figure(lg.phase_diagram("relu", [1.0, 2.0, 3.0], [0.0, 0.1])))


def test_claims_are_points_beside_theory() -> None:
    found = lg.check(lg.mlp([4], 1, "erf", C_b=0.1), X[:2], what="kernels", networks=20, key=jax.random.key(0))
    fig = lg.figure(found)
    examine(fig)
    for i, claim in enumerate(found.claims[:12]):
        dots, line = fig.data[2 * i], fig.data[2 * i + 1]
        assert tuple(dots.y) == claim.means and tuple(dots.x) == claim.widths and set(line.y) == {claim.theory}
        np.testing.assert_allclose(dots.error_y.array, 2 * np.array(claim.errors))
    one = lg.figure(found.claims[0])
    examine(one)
    assert len(one.data) == 2 and found.claims[0].name in one.layout.annotations[0].text


def test_panels_side_by_side_keep_their_width_in_a_narrow_window(tmp_path: Path) -> None:
    panels, alone = lg.figure(lg.kernel(NET, X)), lg.figure(lg.predict(NET, X[:5], Y[:5], X))
    for fig, pixels in ((panels, 90 + 3 * 320), (alone, 90 + 260)):
        fig.write_html(tmp_path / "a.html", include_plotlyjs=False)
        for page in (fig.to_html(include_plotlyjs=False), (tmp_path / "a.html").read_text()):
            assert f"width:max(100%, {pixels}px)" in page
        assert all(9 * len(line) <= pixels for line in fig.layout.title.text.split("<br>"))
    assert "trained to the end" in alone.layout.title.text.replace("<br>", " ")


@pytest.mark.parametrize(("low", "high"), [(0.8, 2.2), (0.1, 1.0), (1e-3, 10.0), (1e-300, 1.0)])
def test_ticks_of_logarithmic_axes_are_few_and_whole(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks["tickvals"]) <= 14 and 0.9 * low <= min(ticks["tickvals"]) <= max(ticks["tickvals"]) <= 1.1 * high


def test_chi_par_and_chi_perp_are_both_seen_where_they_are_equal() -> None:
    par, perp = lg.figure(lg.critical("relu")).data[:2]
    assert np.allclose(par.y, perp.y, rtol=1e-12) and par.line.dash != perp.line.dash


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match=r"lg\.predict"):
        lg.figure(lg.how_deep("relu", 64))
    with pytest.raises(InputError, match="9 test points"):
        lg.figure(lg.predict(NET, X[:5], Y[:5], X, time=1.0), X[:3])
    with pytest.raises(InputError, match="of predictions alone"):
        lg.figure(lg.kernel(NET, X), X)


def test_pictures_say_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fig = lg.figure(lg.kernel(NET, X))
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"kaleido.*largen\[images\]") as error:
        fig.write_image(tmp_path / "a.png")
    assert len(str(error.value).splitlines()) == 1
    monkeypatch.setattr(pictures, "find_spec", lambda name: True)

    def no_browser(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Kaleido requires Google Chrome to be installed.")

    monkeypatch.setattr("plotly.graph_objects.Figure.write_image", no_browser)
    with pytest.raises(InputError, match="a Chrome or Chromium that kaleido can start"):
        fig.write_image(tmp_path / "a.png")
