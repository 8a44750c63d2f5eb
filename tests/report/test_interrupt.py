"""Ctrl-C in the middle: one line, exit code 130, no files; and writing that fails leaves nothing."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from largen.errors import InputError
from largen.report.write import write


def pressed(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What is left in the pipes after Ctrl-C; pressed again where Python lost it, as it does inside callbacks of its memory management."""
    for wait in (20, 20, 20):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=wait)
    raise AssertionError("three times Ctrl-C, and it goes on")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 8])
def test_ctrl_c_leaves_one_line_and_no_files(tmp_path: Path, seconds: int) -> None:
    own = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a script's background ignores the signal
    code = f"import signal, sys; {own}; from largen.cli import main; print('ready', flush=True); main(sys.argv[1:])"
    out = tmp_path / "deep" / "out"
    command = [sys.executable, "-c", code, "report", "--out", str(out), "--networks", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        assert process.poll() is None
        try:
            said, complaint = pressed(process)
        finally:
            process.kill()
    *progress, last = complaint.splitlines()
    assert (process.returncode, last) == (130, "largen: interrupted; nothing was written")
    assert progress in ([], ["largen: starting"]) or all(line.startswith("largen: ") and "left" in line for line in progress[1:])
    assert said == ""
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_whole_files(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", {"report.html": "one", "report.json": "two"})
    write(tmp_path / "a" / "b", {"report.html": "three", "report.json": "four"})
    assert {p.name: p.read_text() for p in (tmp_path / "a" / "b").iterdir()} == {"report.html": "three", "report.json": "four"}


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_writing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    whole = Path.write_text

    def failing(path: Path, text: str, encoding: str | None = None) -> int:
        if "json" in path.name:
            whole(path, text[:1])
            raise failure
        return whole(path, text)

    monkeypatch.setattr(Path, "write_text", failing)
    with pytest.raises(InputError if isinstance(failure, OSError) else KeyboardInterrupt):
        write(tmp_path / "a" / "b", {"report.html": "one", "report.json": "two"})
    assert list(tmp_path.iterdir()) == []


def test_help_is_fast_and_heavy_imports_wait() -> None:
    slow = {"jax", "numpy", "scipy", "rich", "plotly", "pydantic"}
    code = f"import sys, largen_start, largen.cli; print({slow} & set(sys.modules) or 'none')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "none\n"
