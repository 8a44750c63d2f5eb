"""Exponents of parametrizations in real networks, at a size that a test can afford."""

from pathlib import Path
from typing import Any

import pytest

GALLERY = Path(__file__).resolve().parents[2] / "gallery"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GALLERY))
    import parametrizations  # pyright: ignore[reportMissingImports]

    return parametrizations


@pytest.mark.slow
def test_a_small_run(script: Any, tmp_path: Path) -> None:
    """Two parametrizations on either side of three faces, narrow networks: powers are theory's, and not those 1/4 beside it."""
    faces = ("a_2 + b_2 = 1/2", "r >= 0", "a_3 + b_3 + r >= 1")
    out = script.study(faces, each=2, widths=(64, 128, 256, 512), seeds=6)
    assert {(row.face, row.inside) for row in out.powers} == {(face, inside) for face in faces for inside in (True, False)}
    assert {row.step for row in out.powers} == {0, 1, 2, 3}
    for row in out.powers:
        assert abs(row.measured - row.theory) < max(0.12, 3 * row.error) and abs(row.measured - row.theory) + 2 * row.error < 0.5, row
    page = tmp_path / "figure.html"
    script.figure(out).write_html(page, include_plotlyjs=True)
    assert "power of n, measured" in page.read_text(encoding="utf-8")


def test_points_are_on_their_side_of_their_face(script: Any) -> None:
    """Off a face a parametrization is not stable, by the condition of that face; inside it is."""
    names = {"a_1 + b_1 = 0": "a_1 + b_1", "a_2 + b_2 = 1/2": "a_2 + b_2", "a_3 + b_3 >= 1/2": "a_3 + b_3", "r_3 >= 0": "r_3"}
    for face in script.FACES:
        for inside in (True, False):
            draw = script.random.Random(f"{face} {inside}")
            for _ in range(script.EACH):
                found = script.point(face, inside, draw).classify("tanh")
                broken = [condition.name for condition in found.violated]
                assert (found.regime == "unstable") == (not inside), (face, found)
                if not inside:
                    wanted = names.get(face) or ("r_" if face == "r >= 0" else "a_3 + b_3 + r")
                    assert any(name.startswith(wanted) for name in broken), (face, broken)
