"""Hostile command lines: each ends in its exit code, one sentence on stderr, no traceback, and nothing half-written."""

import io
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from largen.cli import main

ROWS = "a,b,y\n" + "\n".join(f"{i},{i * i % 7},{i % 3}" for i in range(30)) + "\n"
REAL = "a,b,y\n" + "\n".join(f"{i},{i * i % 7},{i / 4 + 0.5}" for i in range(30)) + "\n"
DIGITS = "9" * 5000
X, Y = np.arange(60.0).reshape(30, 2), np.arange(30) % 3
NODES = 'format = "largen-network"\nversion = 1\n'
DENSE = '[[nodes]]\nnode = "Dense"\nwidth = 10\n'


def npy(array: np.ndarray) -> bytes:
    """The bytes of an .npy file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    """An .npy file with this header."""
    line = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x02\x00" + len(line).to_bytes(4, "little") + line + data


def archive(**members: bytes) -> bytes:
    """An .npz file of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(f"{name}.npy", data)
    return out.getvalue()


def shaped(shape: str, descr: str = "'<f8'", order: str = "False") -> bytes:
    return archive(X=header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}", b"\0" * 64), y=npy(Y))


GOOD = archive(X=npy(X), y=npy(Y))


def patched(find: bytes, offset: int, value: bytes) -> bytes:
    """The archive with bytes changed in every entry of a kind."""
    out, at = bytearray(GOOD), GOOD.find(find)
    while at >= 0:
        out[at + offset : at + offset + len(value)] = value
        at = GOOD.find(find, at + 4)
    return bytes(out)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"

ARCHIVES: dict[str, bytes] = {
    "empty": b"",
    "text": b"no archive",
    "npy": npy(X),
    "cut": GOOD[: len(GOOD) // 2],
    "last byte": GOOD[:-1],
    "no members": archive(),
    "members of no kind": archive(X=b"", y=b""),
    "unknown compression": patched(CENTRAL, 10, b"\x63\x00"),
    "encrypted": patched(CENTRAL, 8, b"\x01\x00"),
    "checksum": patched(CENTRAL, 16, b"\0\0\0\0"),
    "bomb": patched(CENTRAL, 24, b"\xfe\xff\xff\xff"),
    "deflated rubbish": patched(CENTRAL, 10, b"\x08\x00"),
    "version": archive(X=b"\x93NUMPY\x09\x00" + npy(X)[8:], y=npy(Y)),
    "no header": archive(X=b"\x93NUMPY\x01\x00", y=npy(Y)),
    "header that is no literal": archive(X=header("{'descr': __import__('os')"), y=npy(Y)),
    "header that is a list": archive(X=header("[1, 2]"), y=npy(Y)),
    "header of nonsense": archive(X=header("\x01\x02 {{{"), y=npy(Y)),
    "header without a shape": archive(X=header("{'descr': '<f8', 'fortran_order': False, }"), y=npy(Y)),
    "header of a megabyte": archive(X=header("{" + "'a': 1, " * 130_000 + "}"), y=npy(Y)),
    "header nested": archive(X=header("(" * 3000 + ")" * 3000), y=npy(Y)),
    "shape negative": shaped("(-1, 2)"),
    "shape of text": shaped("('a', 2)"),
    "shape of floats": shaped("(2.5, 2)"),
    "shape huge": shaped("(1000000000000, 2)"),
    "shape beyond integers": shaped(f"({DIGITS}, 2)"),
    "shape overflowing": shaped("(4611686018427387904, 4)"),
    "rows that are not there": shaped("(1000, 2)"),
    "dtype unknown": shaped("(4, 2)", "'<q9'"),
    "dtype of objects": shaped("(4, 2)", "'|O'"),
    "dtype of records": shaped("(4,)", "[('a', '<f8'), ('b', '<f8')]"),
    "dtype of text": shaped("(4, 2)", "'<U1'"),
    "dtype of times": shaped("(4, 2)", "'<M8[s]'"),
    "order": shaped("(4, 2)", order="'no'"),
    "pickled": archive(X=header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 1), }", b"\x80\x04N."), y=npy(Y)),
    "infinite": archive(X=npy(X + np.inf), y=npy(Y)),
    "half beyond": archive(X=npy(X.astype(np.float16)), y=npy(np.full(30, np.inf, np.float16))),
    "no columns": archive(X=npy(X[:, :0]), y=npy(Y)),
    "labels in columns": archive(X=npy(X), y=npy(np.stack([Y, Y], 1))),
    "targets cubed": archive(X=npy(X), y=npy(np.ones((30, 2, 2)))),
    "test of other columns": archive(x_train=npy(X), y_train=npy(Y), x_test=npy(X[:, :1]), y_test=npy(Y)),
    "test of an unknown class": archive(x_train=npy(X), y_train=npy(Y), x_test=npy(X), y_test=npy(Y + 5)),
    "test without rows": archive(x_train=npy(X), y_train=npy(Y), x_test=npy(X[:0]), y_test=npy(Y[:0])),
    "one row": archive(X=npy(X[:1]), y=npy(Y[:1])),
    "scalar": archive(X=npy(np.array(1.0)), y=npy(Y)),
}  # fmt: skip

TABLES: dict[str, bytes] = {
    "utf-16": ROWS.encode("utf-16"),
    "latin-1": "a,é,y\n1,2,3\n".encode("latin-1"),
    "nul": ROWS.replace("5,4", "5,\0").encode(),
    "binary": bytes(range(256)) * 8,
    "blank": b"\n\n \n",
    "a header alone": b"a,b,y\n\n\n",
    "one column": b"y\n1\n2\n3\n4\n",
    "numbers first": b"1,2,3\n4,5,6\n",
    "field too long": b"a,b,y\n" + b"1" * 200_000 + b",2,3\n",
    "integer of 5,000 digits": f"a,b,y\n{DIGITS},2,3\n1,2,3\n1,2,4\n1,3,4\n".encode(),
    "target of 5,000 digits": (REAL + f"1,2,{DIGITS}\n").encode(),
    "feature infinite": ROWS.replace("5,4", "5,1e999").encode(),
    "target infinite": (REAL + "1,2,inf\n").encode(),
    "target mixed": (REAL + "1,2,no\n").encode(),
    "ragged": (ROWS + "1,2\n").encode(),
    "open quote": (ROWS + '1,"2,3\n').encode(),
    "ids": b"a,y\n" + b"\n".join(b"%d,%d" % (i, i) for i in range(30)),
    "equal rows": b"a,b,y\n" + b"1,2,3\n1,2,4\n" * 10,
    "equal targets": b"a,b,y\n" + b"\n".join(b"%d,2,0.5" % i for i in range(30)),
    "one class": b"a,b,y\n" + b"\n".join(b"%d,2,no" % i for i in range(30)),
    "three rows": b"a,b,y\n1,2,0\n2,3,1\n4,5,1\n",
}

CONFIGS: dict[str, bytes] = {
    "binary": bytes(range(256)),
    "utf-16": "seed = 1".encode("utf-16"),
    "open table": b"[mlp",
    "twice": b"seed = 1\nseed = 2",
    "integer of 5,000 digits": f"seed = {DIGITS}".encode(),
    "width of 5,000 digits": f"[mlp]\nwidths = [{DIGITS}]".encode(),
    "width of 4,000 digits": f"[mlp]\nwidths = [{DIGITS[:4000]}]".encode(),
    "seed of 4,000 digits": f"seed = {DIGITS[:4000]}".encode(),
    "train of 400 digits": f"train = {DIGITS[:400]}".encode(),
    "nested lists": b"widths = " + b"[" * 20_000 + b"]" * 20_000,
    "nested tables": b"[" + b".".join([b"a"] * 20_000) + b"]\nb = 1",
    "nested inline": b"a = " + b"{a = " * 5000 + b"1" + b"}" * 5000,
    "two megabytes": b"#" * 2**21,
    "seed infinite": b"seed = inf",
    "seed half": b"seed = 1.5",
    "seed true": b"seed = 'yes'",
    "share nan": b"share = nan",
    "pace nan": b"pace = nan",
    "date": b"train = 2024-01-01",
    "widths text": b"widths = '64'",
    "widths table": b"[widths]\na = 1",
    "widths 0": b"widths = [0, 1, 2, 3]",
    "points 1": b"points = 1",
    "C_W nan": b"[mlp]\nC_W = nan",
    "C_W infinite": b"[mlp]\nC_W = inf",
    "C_W below 0": b"[mlp]\nC_W = -1e-300",
    "C_W 0": b"[mlp]\nC_W = 0",
    "C_W 0 in one layer": b"[mlp]\nwidths = [64, 64]\nC_W = [1.0, 0.0, 1.0]",
    "C_W text": b"[mlp]\nC_W = 'two'",
    "C_W too many": b"[mlp]\nC_W = [1.0, 2.0]",
    "C_b nan": b"[mlp]\nC_b = nan",
    "input_scale 0": b"[mlp]\nactivation = 'gelu'\ninput_scale = 0",
    "input_scale nan": b"[mlp]\nactivation = 'gelu'\ninput_scale = nan",
    "activation of a megabyte": b"[mlp]\nactivation = '" + b"a" * 2**19 + b"'",
    "activation of no numbers": b"[mlp]\nactivation = 'leaky_relu(nan)'\nC_W = 1",
    "activation of code": b"[mlp]\nactivation = 'leaky_relu(__import__(\"os\"))'",
    "activation empty": b"[mlp]\nactivation = ''",
    "no critical point": b"[mlp]\nactivation = 'sigmoid'",
    "a million layers": b"[mlp]\nwidths = [" + b"1," * 200_000 + b"]",
    "width of 10^12": b"[mlp]\nwidths = [1000000000000]\nC_W = 2.0",
    "other format": b"format = 'mine'\nnodes = []",
    "no nodes": NODES.encode() + b"nodes = []",
    "node without a name": NODES.encode() + b"[[nodes]]\nwidth = 3",
    "node of no kind": NODES.encode() + b"[[nodes]]\nnode = 'Serial'",
    "one layer": (NODES + DENSE).encode(),
    "activation last": (NODES + DENSE + '[[nodes]]\nnode = "Act"\nactivation = "relu"\n').encode(),
    "no chain": (NODES + '[[nodes]]\nnode = "Flatten"\n' + DENSE).encode(),
    "version 99": NODES.replace("1", "99").encode() + DENSE.encode(),
    "out a number": b"out = 5",
    "data a list": b"data = ['a']",
}

LINES: dict[str, list[str]] = {  # {folder} stands for a new folder
    "networks 1e11": ["report", "--networks", "100000000000"],
    "draws 1e12": ["report", "--draws", "1000000000000"],
    "networks of 100 digits": ["report", "--networks", DIGITS[:100]],
    "networks 1e11, as a float": ["report", "--networks", "1e11"],
    "widths of 1e8": ["report", "--widths", "12500000,25000000,50000000,100000000"],
    "widths of 5,000 digits": ["report", "--widths", f"1,2,3,{DIGITS}"],
    "widths of 400 digits": ["report", "--widths", f"64,128,256,{DIGITS[:400]}"],
    "widths empty": ["report", "--widths", ""],
    "widths of commas": ["report", "--widths", ",,,"],
    "widths negative": ["report", "--widths=-8,-4,-2,-1"],
    "steps 1e9": ["report", "--steps", "1000000000"],
    "steps 3": ["report", "--steps", "3"],
    "share nan": ["report", "--share", "nan"],
    "share 0": ["report", "--share", "0"],
    "pace infinite": ["report", "--pace", "inf"],
    "pace 0": ["report", "--pace", "0"],
    "seed 2^31": ["report", "--seed", "2147483648"],
    "train 1": ["report", "--train", "1"],
    "train all": ["report", "--train", "1797"],
    "test 0": ["report", "--test", "0"],
    "train without a class": ["report", "--train", "9"],
    "data empty": ["report", "--data", ""],
    "data with a NUL": ["report", "--data", "a\0b.csv"],
    "data of 5,000 characters": ["report", "--data", "a" * 5000 + ".csv"],
    "data a folder": ["report", "--data", "{folder}"],
    "data a folder of a name": ["report", "--data", "{folder}/folder.csv"],
    "data half a character": ["report", "--data", "\ud800.csv"],
    "data a link in a ring": ["report", "--data", "{folder}/ring.csv"],
    "config with a NUL": ["report", "--config", "a\0b"],
    "config a folder": ["report", "--config", "{folder}"],
    "config of 5,000 characters": ["report", "--config", "a" * 5000],
    "config without an end": ["report", "--config", "/dev/zero"],
    "config a link in a ring": ["report", "--config", "{folder}/ring"],
    "out with a NUL": ["report", "--out", "{folder}/a\0b"],
    "out of 300 characters": ["report", "--out", "{folder}/" + "a" * 300],
    "out a link in a ring": ["report", "--out", "{folder}/ring"],
    "out below a link in a ring": ["report", "--out", "{folder}/ring/out"],
    "out a link to nowhere": ["report", "--out", "{folder}/nowhere"],
    "out a file": ["report", "--out", "{folder}/file"],
    "out below a file": ["report", "--out", "{folder}/file/out"],
    "out a device": ["report", "--out", "/dev/full"],
    "out in /proc": ["report", "--out", "/proc/self/out"],
    "out with a folder in its place": ["report", "--out", "{folder}/taken"],
    "out half a character": ["report", "--out", "{folder}/\ud800"],
    "target twice": ["report", "--target", "y", "--data", "digits"],
    "option twice unknown": ["report", "--nothing", "1"],
    "option without a value": ["report", "--seed"],
    "argument too many": ["report", "digits"],
    "no such command": ["raport"],
    "no such option": ["--none"],
    "width, tolerance 1e-300": ["width", "--tolerance", "1e-300"],
    "width, tolerance 0": ["width", "--tolerance", "0"],
    "width, tolerance below 0": ["width", "--tolerance", "-1"],
    "width, tolerance nan": ["width", "--tolerance", "nan"],
    "width, tolerance infinite": ["width", "--tolerance", "inf"],
    "width, tolerance text": ["width", "--tolerance", "few"],
    "width, points 0": ["width", "--points", "0"],
    "width, points -5": ["width", "--points", "-5"],
    "width, points 1e9": ["width", "--points", "1000000000"],
    "width, points 256": ["width", "--points", "256"],
    "width, no such data": ["width", "--data", "none.npz"],
    "critical of nothing": ["critical"],
    "critical of an empty name": ["critical", ""],
    "critical of both": ["critical", "relu", "--callable", "jax.nn:relu"],
    "critical of an unknown name": ["critical", "rellu"],
    "critical of a megabyte": ["critical", "a" * 2**20],
    "critical of brackets": ["critical", "leaky_relu((((("],
    "critical of many brackets": ["critical", "leaky_relu(" + "(" * 5000 + ")" * 5001],
    "critical of nan": ["critical", "leaky_relu(nan)"],
    "critical of 5,000 digits": ["critical", f"leaky_relu({DIGITS})"],
    "critical of text": ["critical", "leaky_relu('a')"],
    "critical of a power": ["critical", "polynomial(9**9**9)"],
    "figure a folder": ["critical", "relu", "--figure", "{folder}"],
    "figure in no folder": ["critical", "relu", "--figure", "{folder}/none/figure.html"],
    "figure below a file": ["critical", "relu", "--figure", "{folder}/file/figure.html"],
    "figure a device": ["critical", "relu", "--figure", "/dev/full"],
    "figure a link in a ring": ["critical", "relu", "--figure", "{folder}/ring"],
    "figure of 300 characters": ["critical", "relu", "--figure", "{folder}/" + "a" * 300],
    "figure with a NUL": ["critical", "relu", "--figure", "{folder}/a\0b"],
    "figure in /proc": ["critical", "relu", "--figure", "/proc/figure.html"],
    "kinks of a name": ["critical", "relu", "--kinks", "0"],
    "kinks of text": ["critical", "--callable", "jax.numpy:tanh", "--kinks", "a"],
    "kinks nan": ["critical", "--callable", "jax.numpy:tanh", "--kinks", "nan"],
    "kinks infinite": ["critical", "--callable", "jax.numpy:tanh", "--kinks", "1e999"],
    "kinks of commas": ["critical", "--callable", "jax.numpy:tanh", "--kinks", ",,"],
    "callable empty": ["critical", "--callable", ""],
    "callable without a function": ["critical", "--callable", "math"],
    "callable of no module": ["critical", "--callable", "no_such_module:f"],
    "callable of no name": ["critical", "--callable", "math:none"],
    "callable of dots": ["critical", "--callable", "...:f"],
    "callable no function": ["critical", "--callable", "math:pi"],
    "callable of numbers": ["critical", "--callable", "math:exp"],
    "callable that leaves": ["critical", "--callable", "sys:exit"],
    "callable that leaves later": ["critical", "--callable", "hostile:later"],
    "callable that raises nothing said": ["critical", "--callable", "hostile:silent"],
    "callable that calls itself": ["critical", "--callable", "hostile:deep"],
    "callable that returns nothing": ["critical", "--callable", "hostile:nothing"],
    "callable that returns text": ["critical", "--callable", "hostile:text"],
    "callable that is infinite": ["critical", "--callable", "hostile:infinite"],
    "callable that sums": ["critical", "--callable", "jax.numpy:sum"],
    "module that leaves": ["critical", "--callable", "leaving:f"],
    "module of wrong code": ["critical", "--callable", "wrong:f"],
}  # fmt: skip

HOSTILE = """
count = [0]
def later(z):
    count[0] += 1
    if count[0] > 4: raise SystemExit(3)
    return z * z
def silent(z): raise ValueError
def deep(z): return deep(z)
def nothing(z): return None
def text(z): return "text"
def infinite(z): return z * float("inf")
"""


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """No study may begin."""

    def begun(*arguments: object) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr("largen.report.run.study", begun)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file, a folder called as a table, links in a ring and to nowhere, modules."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "taken" / "report.html").mkdir(parents=True)
    for name in ("ring", "ring.csv"):
        (tmp_path / name).symlink_to(tmp_path / name)
    (tmp_path / "nowhere").symlink_to(tmp_path / "none" / "none")
    (tmp_path / "hostile.py").write_text(HOSTILE)
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "wrong.py").write_text("def f(z:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("hostile", "leaving", "wrong"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """Run: exit code 2, one sentence on stderr and nothing on stdout, no file more or less. What was said."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    said = capsys.readouterr()
    assert stop.value.code == 2, said.err
    assert said.err.startswith("largen: ") and said.err.count("\n") == 1 and len(said.err) < 1000, said.err
    assert "Traceback" not in said.err and said.out == ""
    assert sorted(folder.rglob("*")) == before
    return said.err


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "t.npz").write_bytes(ARCHIVES[name])
    refused(capsys, folder, "report", "--data", str(folder / "t.npz"), "--out", str(folder / "out"))


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "t.csv").write_bytes(TABLES[name])
    refused(capsys, folder, "report", "--data", str(folder / "t.csv"), "--out", str(folder / "out"))


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "t.toml").write_bytes(CONFIGS[name])
    refused(capsys, folder, "report", "--config", str(folder / "t.toml"))


@pytest.mark.parametrize("name", LINES)
def test_lines(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, folder, *(word.replace("{folder}", str(folder)) for word in LINES[name]))


def test_there_are_many() -> None:
    assert len(ARCHIVES) + len(TABLES) + len(CONFIGS) + len(LINES) >= 150


def test_rows_are_numbered_as_in_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = folder / "t.csv"
    for text, line in [
        ("\n\na,b,y\n1,2,3\n\n\n4,five,6\n", 7),
        ('a,b,y\n"1",2,3\n\n4,"fi\nve",6\n', 4),
        ("a,b,y\n1,2,3\n\n4,5\n", 4),
        ("a,b,y\n1,2,3\n\n\n4,5,\n", 5),
    ]:
        table.write_text(text)
        assert f"row {line}" in refused(capsys, folder, "report", "--data", str(table))


def test_a_figure_on_a_disk_that_fills_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    files = sorted(folder.rglob("*"))
    try:
        with pytest.raises(SystemExit) as stop:
            main(["critical", "relu", "--figure", str(folder / "figure.html")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("largen: `figure`") and said.count("\n") == 1
    assert sorted(folder.rglob("*")) == files


# ---------------------------------------------------------------- processes: streams, signals, disks

START = "from largen_start import main; main()"


def run(*words: str, before: str = "", **how: object) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-c", before + START, *words], capture_output=not how, timeout=300, **how)  # type: ignore[call-overload]


@pytest.mark.slow
def test_an_encoding_without_the_signs() -> None:
    done = run("critical", "relu", env={**os.environ, "PYTHONIOENCODING": "ascii"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stderr == b"" and b"#" in done.stdout and done.stdout.isascii()


@pytest.mark.slow
def test_outputs_that_cannot_be_written() -> None:
    with open("/dev/full", "wb") as full:
        done = run("--help", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (2, b"largen: the output cannot be written (No space left on device)\n")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as left:
        done = run("--help", stdout=left, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_ctrl_c_while_it_imports(seconds: float, tmp_path: Path) -> None:
    ready = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); print(flush=True); "
    command = [sys.executable, "-c", ready + START, "report", "--networks", "500", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=120)
    assert (process.returncode, complaint) == (130, b"largen: interrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []
