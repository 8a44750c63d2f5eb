"""What the command line keeps of compiled programs: where, at whose word, and that nothing fails where it cannot."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from largen import cache

JAX = "JAX_COMPILATION_CACHE_DIR"
PROGRAM = """
from largen import cache
cache.keep()
import jax
heard = []
jax.monitoring.register_event_listener(lambda event, **_: heard.append(event))
print(jax.jit(lambda z: 2 * z)(3.0), "kept" if "/jax/compilation_cache/cache_hits" in heard else "new")
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of its own, from which what `keep` adds goes again."""
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_", "TF_CPP"))})


def run(program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True)


def test_programs_are_kept_and_damaged_ones_compiled_again(tmp_path: Path) -> None:
    first = run(XDG_CACHE_HOME=str(tmp_path))
    kept = sorted(tmp_path.glob("largen/*/*-cache"))
    assert (first.returncode, first.stdout, first.stderr) == (0, "6.0 new\n", "") and kept
    assert kept[0].parent.stat().st_mode & 0o77 == 0  # who can write there runs code as the user
    assert run(XDG_CACHE_HOME=str(tmp_path)).stdout == "6.0 kept\n"
    for file in kept:
        file.write_bytes(b"no program")
    again = run(XDG_CACHE_HOME=str(tmp_path))
    assert (again.returncode, again.stdout, again.stderr) == (0, "6.0 new\n", "")


def test_the_lines_of_the_page_do_the_same(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "speed.md").read_text("utf-8")
    lines = page.partition('```python title="kept programs"\n')[2].partition("```")[0]
    program = PROGRAM.replace("from largen import cache\ncache.keep()\n", lines)
    assert [run(program, HOME=str(tmp_path)).stdout for _ in range(2)] == ["6.0 new\n", "6.0 kept\n"]


def test_without_a_place_there_is_no_cache_and_no_word(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", Path("/proc/none")):
        done = run(HOME=str(home))
        assert (done.returncode, done.stdout, done.stderr) == (0, "6.0 new\n", "")


def test_a_folder_that_is_only_read_or_no_home_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        cache.keep()
    assert JAX not in os.environ
    del os.environ["XDG_CACHE_HOME"]

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    cache.keep()
    assert JAX not in os.environ


def test_the_user_has_the_last_word(tmp_path: Path) -> None:
    os.environ |= {"XDG_CACHE_HOME": str(tmp_path), JAX: "elsewhere"}
    before = dict(os.environ)
    cache.keep()
    assert os.environ == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("system", "environment", "place"),
    [
        ("linux", {"XDG_CACHE_HOME": "/var/mine"}, "/var/mine"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache"),
        ("linux", {}, "/home/me/.cache"),
        ("darwin", {"XDG_CACHE_HOME": "/var/mine"}, "/home/me/Library/Caches"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
        ("win32", {}, "/home/me/AppData/Local"),
    ],
)
def test_the_folder_is_that_of_the_platform(system: str, environment: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    os.environ |= environment
    assert cache.base() == Path(place)


def test_processors_that_differ_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    own = cache.machine()
    assert own == cache.machine()
    monkeypatch.setattr(cache, "open", lambda *_: io.StringIO("processor : 0\nflags : fpu\n"), raising=False)
    assert cache.machine() != own
