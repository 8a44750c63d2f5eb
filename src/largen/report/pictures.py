"""Figures that say in one sentence why they cannot be saved as a picture."""

from importlib.util import find_spec
from typing import Any

import plotly.graph_objects as go

from largen.errors import InputError, shown


class Figure(go.Figure):
    """A Plotly figure; `write_image` takes what Plotly's does."""

    def write_image(self, file: Any, *args: Any, **kwargs: Any) -> None:
        need = "kaleido, which draws them" if find_spec("kaleido") is None else "a Chrome or Chromium that kaleido can start"
        fix = 'pip install "largen[images]", which needs a Chrome or Chromium too; .write_html(path) needs neither.'
        if find_spec("kaleido") is None:
            raise InputError("file", shown(file), need, fix)
        try:
            super().write_image(file, *args, **kwargs)
        except RuntimeError as error:  # what Plotly raises where kaleido finds no browser
            raise InputError("file", shown(file), need, fix) from error
