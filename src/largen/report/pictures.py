"""Figures that stay legible in narrow windows, and say in one sentence why they cannot be saved as a picture."""

from importlib.util import find_spec
from typing import Any

import plotly.graph_objects as go

from largen.errors import InputError, shown

ALONE, PANEL = 260, 320  # pixels of a panel that stands alone, and of one beside others, whose titles have to fit


def least(fig: go.Figure) -> int:
    """The width in pixels below which panels, or their titles, would overlap."""
    side_by_side = len({axis.domain for axis in fig.select_xaxes()})
    margin = fig.layout.margin  # type: ignore[attr-defined]
    return int(margin.l or 80) + int(margin.r or 80) + (ALONE if side_by_side == 1 else PANEL * side_by_side)


def fitting(fig: go.Figure) -> dict[str, str]:
    """What to tell Plotly's HTML: as wide as the window, which scrolls where it is too narrow."""
    return {"default_width": f"max(100%, {least(fig)}px)"}


class Figure(go.Figure):
    """A Plotly figure; its methods take what Plotly's do."""

    def to_html(self, *args: Any, **kwargs: Any) -> str:
        return super().to_html(*args, **fitting(self) | kwargs)

    def write_html(self, *args: Any, **kwargs: Any) -> None:
        super().write_html(*args, **fitting(self) | kwargs)

    def write_image(self, file: Any, *args: Any, **kwargs: Any) -> None:
        need = "kaleido, which draws them" if find_spec("kaleido") is None else "a Chrome or Chromium that kaleido can start"
        fix = 'pip install "largen[images]", which needs a Chrome or Chromium too; .write_html(path) needs neither.'
        if find_spec("kaleido") is None:
            raise InputError("file", shown(file), need, fix)
        try:
            super().write_image(file, *args, **kwargs)
        except RuntimeError as error:  # what Plotly raises where kaleido finds no browser
            raise InputError("file", shown(file), need, fix) from error
