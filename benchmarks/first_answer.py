"""From `import largen` to the first answer: what one waits for in a new process, compiling included.

CPU seconds (user and system) of a process of its own, from after its imports of NumPy, JAX and largen until the answer is there, inputs and
network included; for the command line, seconds on the clock of the whole command. The median of several processes, against its bar:

    python benchmarks/first_answer.py [--rounds 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

IMPORTS = "import time, jax; t = time.process_time(); import largen; print(time.process_time() - t)"
ASK = """
import time
import jax, numpy as np, largen as lg
t = time.process_time()
draw = np.random.default_rng(0).normal
{given}
{answer}
print(time.process_time() - t)
"""
LATER = """
X = draw(size=X.shape)
t = time.process_time()
{answer}
print(time.process_time() - t)
"""
BYTECODE = "import largen.records as records; [getattr(records, name) for name in records.__all__]"
LAYERS = "lg.mlp(widths=[100, 100], out=1, activation={0!r}, C_W={1}, C_b=0.1)"

POINTS = "X = draw(size=(100, 20))\nnet = "
KERNEL = "np.asarray(lg.kernel(net, X).ntk)"
KERNELS = {"relu": 0.5, "gelu": 0.5, "tanh": 0.5, "elu": 0.8, "selu": 0.8, "hardtanh": 0.8, "softsign": 0.8}
AGAIN = {"elu", "selu", "hardtanh", "softsign"}  # which are asked a second time in the same process
AGAIN_BAR = 0.3

TANH = "net = " + LAYERS.format("tanh", 1.5)
QUESTIONS = {  # what is given, what is asked, the bar
    "signal of 4 points, tanh": (f"X = draw(size=(4, 20))\n{TANH}", "np.asarray(lg.signal(net, X).c)", 0.6),
    "predict 20 points from 80, tanh": (
        f"X, y, X_test = draw(size=(80, 20)), draw(size=80), draw(size=(20, 20))\n{TANH}",
        "np.asarray(lg.predict(net, X, y, X_test).mean)",
        0.8,
    ),
    "critical, gelu": ("", "lg.critical('gelu')", 1.0),
    "corrections of 2 points, tanh": (f"X = draw(size=(2, 20))\n{TANH}", "np.asarray(lg.corrections(net, X).V)", 1.3),
    "gradient of a kernel by C_W, tanh": (
        "X = draw(size=(100, 20)).astype(np.float32)",
        f"float(jax.grad(lambda C_W: lg.kernel({LAYERS.format('tanh', 'C_W')}, X).ntk.sum())(1.5))",
        3.0,
    ),
    "kernel of 8 pooled images, relu": (
        "X = draw(size=(8, 16, 16, 3))\nnet = lg.cnn([16, 16], out=1, activation='relu', C_W=2.0, pool=True)",
        KERNEL,
        3.0,
    ),
}
HELP_BAR, FIRST_BAR, SECOND_BAR = 0.4, 3.0, 2.0


def environment(**more: str) -> dict[str, str]:
    """That of a user: Python keeps bytecode, JAX has no cache of programs unless one is said here."""
    ours = {"PYTHONDONTWRITEBYTECODE", "JAX_COMPILATION_CACHE_DIR"}
    return {name: value for name, value in os.environ.items() if name not in ours} | more


def asked(program: str) -> list[float]:
    """The seconds that a program prints, in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", program], env=environment(), check=True, stdout=subprocess.PIPE, text=True)
    return [float(line) for line in ran.stdout.split()]


def command(folder: str, *words: str) -> float:
    """Seconds on the clock of a command line, with its cache in a folder."""
    program, began = "from largen_start import main; main()", time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *words], env=environment(XDG_CACHE_HOME=folder), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def commands() -> list[float]:
    """The help, one question, and the same again."""
    with tempfile.TemporaryDirectory() as folder:
        return [command(folder, "--help"), command(folder, "critical", "gelu"), command(folder, "critical", "gelu")]


def main() -> int:
    """Print a line for every question; 0 if all bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="processes for each question  [5]")
    rounds = parser.parse_args().rounds
    good = True

    def line(name: str, seconds: float, bar: float) -> None:
        nonlocal good
        good = good and seconds <= bar
        print(f"{name:40s} {seconds:6.2f} s   bar {bar:4.2f} s   {'holds' if seconds <= bar else 'TOO SLOW'}", flush=True)

    def medians(runs: list[list[float]]) -> list[float]:
        return [statistics.median(times) for times in zip(*runs, strict=True)]

    asked(BYTECODE)
    line("import largen, beyond import jax", medians([asked(IMPORTS) for _ in range(rounds)])[0], 0.15)
    for activation, bar in KERNELS.items():
        program = ASK.format(given=POINTS + LAYERS.format(activation, 1.5), answer=KERNEL)
        program += LATER.format(answer=KERNEL) if activation in AGAIN else ""
        first, *later = medians([asked(program) for _ in range(rounds)])
        line(f"kernel of 100 points, {activation}", first, bar)
        for seconds in later:
            line(f"kernel of 100 fresh points, {activation}", seconds, AGAIN_BAR)
    for name, (given, answer, bar) in QUESTIONS.items():
        line(name, medians([asked(ASK.format(given=given, answer=answer)) for _ in range(rounds)])[0], bar)
    names = ("largen --help (clock)", "largen critical gelu (clock)", "largen critical gelu, again (clock)")
    for name, seconds, bar in zip(names, medians([commands() for _ in range(rounds)]), (HELP_BAR, FIRST_BAR, SECOND_BAR), strict=True):
        line(name, seconds, bar)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
