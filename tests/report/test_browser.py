"""The page in headless Chromium, the network off: no console message, every figure drawn with marks."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")
def test_the_page_draws_its_figures_offline(made: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    offline = ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"]
    more = ["--virtual-time-budget=10000", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    page = (made / "report.html").as_uri()
    done = subprocess.run([CHROMIUM, *FLAGS, *offline, *more, page], capture_output=True, text=True, timeout=180)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    figures = re.split(r'(?=<div id="figure-)', done.stdout)[1:]
    assert len(figures) >= 5
    for figure in figures:
        name = re.match(r'<div id="figure-(\w+)"', figure)
        assert name and 'class="main-svg"' in figure, "a figure was not drawn"
        assert len(re.findall(r'<path class="point|class="js-line"|<g class="point"', figure)) >= 3, f"no marks in {name[1]}"
