"""The command line: `largen report`, `largen check`, `largen width`, `largen critical`. Heavy imports wait until a command runs."""

import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

from largen.errors import InputError, LargenError, shown
from largen.report.output import Lost, Output, abandon

BAD, FAULT, INTERRUPTED, LEFT = 2, 70, 130, 141
LONG = 600  # characters of a sentence; what is longer loses its middle

app = typer.Typer(
    name="largen", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True,
    help="The theory of wide neural networks, held against real networks.",
)  # fmt: skip


@app.callback()
def commands() -> None:
    """The theory of wide neural networks, held against real networks."""


def _widths(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError("widths", shown(text), "whole numbers separated by commas, such as 64,128,256,512") from error


@app.command()
def report(
    config: Annotated[str | None, typer.Option(help="TOML file with these options and the network.", metavar="FILE")] = None,
    data: Annotated[str | None, typer.Option(help='"digits", or an .npz or .csv file.  [digits]')] = None,
    target: Annotated[str | None, typer.Option(help="Target column of a CSV file.  [the last]")] = None,
    out: Annotated[str | None, typer.Option(help="Folder for report.html and report.json.  [largen-report]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split and of all networks.  [0]")] = None,
    train: Annotated[int | None, typer.Option(help="Train points.  [256]")] = None,
    test: Annotated[int | None, typer.Option(help="Test points.  [256]")] = None,
    widths: Annotated[str | None, typer.Option(help="Four or more widths of the first hidden layer, as 64,128,256,512.")] = None,
    networks: Annotated[int | None, typer.Option(help="Networks trained at the largest width.  [8]")] = None,
    draws: Annotated[int | None, typer.Option(help="Networks looked at untrained at the largest width.  [96]")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of gradient descent.  [as long as theory expects them to pay]")] = None,
    share: Annotated[float | None, typer.Option(help="Train instead until theory expects this part of the initial train loss.")] = None,
    pace: Annotated[float | None, typer.Option(help="Step size times the largest NTK eigenvalue.  [0.5]")] = None,
) -> None:
    """What theory says of a network on your data, and what real networks did, as one page."""
    import warnings

    from rich.console import Console

    from largen import __version__
    from largen.report.config import settings
    from largen.report.progress import progress
    from largen.report.run import prepare, report as make
    from largen.report.terminal import summary

    asked = {"data": data, "target": target, "out": out, "seed": seed, "train": train, "test": test, "widths": _widths(widths)}
    asked |= {"networks": networks, "draws": draws, "steps": steps, "share": share, "pace": pace}
    job = prepare(settings(config, **asked))
    notes, console = Console(stderr=True), Console(highlight=False)
    with warnings.catch_warnings(record=True) as heard, progress(notes) as tell:
        record = make(job, __version__, tell)
    for message in dict.fromkeys(str(w.message) for w in heard if issubclass(w.category, UserWarning)):
        notes.print(f"largen: note: {message}", highlight=False, soft_wrap=True)
    summary(record, console)
    console.print(f"\n{job.folder / 'report.html'}  {job.folder / 'report.json'}  ({record.setup.seconds:.0f} s)", soft_wrap=True)


@app.command()
def check(
    what: Annotated[str, typer.Option(help='"training", "kernels", "signal" or "tensors".')] = "training",
    config: Annotated[str | None, typer.Option(help="TOML file with the network, as for `largen report`.", metavar="FILE")] = None,
    data: Annotated[str | None, typer.Option(help='"digits", or an .npz or .csv file.  [digits]')] = None,
    target: Annotated[str | None, typer.Option(help="Target column of a CSV file.  [the last]")] = None,
    points: Annotated[int, typer.Option(help="Train points looked at.", min=1)] = 8,
    widths: Annotated[str | None, typer.Option(help="Four or more widths of the first hidden layer.  [8,16,32,64]")] = None,
    networks: Annotated[int | None, typer.Option(help="Networks of each width.  [1000 trained, or 10000]")] = None,
) -> None:
    """Theory held against real networks of several widths on your data: claims, controls, verdicts."""
    from largen.agreement.check import check as hold
    from largen.data.files import load
    from largen.data.task import make
    from largen.report.config import settings

    asked = settings(config, data=data, target=target)
    task = make(load(asked.data, asked.target), asked.train, asked.test, asked.seed)
    net, X, y = asked.network(task.y.shape[1]), task.X[:points], task.y[:points] if what == "training" else None
    print(hold(net, X, y, what=what, widths=_widths(widths), networks=networks, progress=sys.stderr.isatty()))


@app.command()
def width(
    tolerance: Annotated[float, typer.Option(help="Relative error of theory's leading order.")] = 0.05,
    config: Annotated[str | None, typer.Option(help="TOML file with the network, as for `largen report`.", metavar="FILE")] = None,
    data: Annotated[str | None, typer.Option(help='"digits", or an .npz or .csv file.  [digits]')] = None,
    target: Annotated[str | None, typer.Option(help="Target column of a CSV file.  [the last]")] = None,
    points: Annotated[int, typer.Option(help="Train points looked at.", min=1)] = 6,
) -> None:
    """The smallest width at which the infinite-width theory of a network is good to a tolerance on your data."""
    from rich.console import Console

    from largen.data.files import load
    from largen.data.task import make
    from largen.questions.width import width as find
    from largen.report.config import settings

    asked = settings(config, data=data, target=target)
    task = make(load(asked.data, asked.target), asked.train, asked.test, asked.seed)
    if points > len(task.X):
        raise InputError("points", str(points), f"at most the {len(task.X)} train points")
    found = find(asked.network(task.y.shape[1]), task.X[:points], tolerance)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found.width}\n")
    for name, size in found.relative.items():
        at = f"{100 * size:6.2g} % off at the network's own width"
        console.print(f"{name:24s} {at}, good to {100 * tolerance:g} % from width {found.needed[name]} on")
    console.print("\n" + "\n".join(found.sentences))


@app.command()
def critical(
    activation: Annotated[str | None, typer.Argument(help='Its name, as gelu or "leaky_relu(0.1)".', show_default=False)] = None,
    callable: Annotated[str | None, typer.Option(help="A function of yours instead.", metavar="MODULE:FUNCTION")] = None,
    kinks: Annotated[str | None, typer.Option(help="Points where that function or its slope jumps, as 0,0.5.")] = None,
    figure: Annotated[str | None, typer.Option(help="Also draw it into this HTML file.", metavar="FILE")] = None,
    width: Annotated[int, typer.Option(help="Units of a hidden layer, for how deep such a network can be.")] = 512,
) -> None:
    """The critical initialisation of an activation: recipe, class, picture, lines to paste."""
    from rich.console import Console

    from largen import door
    from largen.activations.critical import critical as find
    from largen.report.critical_page import from_module, page
    from largen.report.write import check_file, write

    if (activation is None) == (callable is None):
        raise InputError(
            "activation", "both a name and --callable" if activation else "nothing", "a name, as gelu, or --callable module:function"
        )
    if kinks is not None and callable is None:
        raise InputError("kinks", f"{kinks!r} with a named activation", "--callable: named activations know their kinks")
    try:
        places = tuple(float(part) for part in kinks.split(",")) if kinks else ()
    except ValueError as error:
        raise InputError("kinks", shown(kinks), "numbers separated by commas, such as 0,0.5") from error
    door.count(width, "width")
    picture = None if figure is None else check_file(figure, "figure")
    point = find(from_module(callable, places) if callable is not None else activation or "")
    page(point, Console(highlight=False, soft_wrap=True), width)
    if picture is not None:
        from largen.report.figure import figure as draw

        write(picture.parent, {picture.name: draw(point).to_html(include_plotlyjs=True)}, "figure")
        print(f"\n{figure}")


def main(arguments: list[str] | None = None) -> None:
    """Ends in an exit code: 0 done; 2 bad input, or an output or file that cannot be written (one sentence on stderr); 70 a fault of
    largen itself (one sentence, where it is); 130 interrupted; 141 whoever read the output has left."""
    out, sys.stdout = sys.stdout, Output.of(sys.stdout)
    try:
        code: Any = app(arguments, standalone_mode=False)  # typer turns Ctrl-C into the exit code 130, or raises
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except Lost as error:
        abandon(out)
        if error.left:
            sys.exit(LEFT)
        _stop(f"the output cannot be written ({error})", BAD)
    except LargenError as error:
        _stop(str(error), BAD)
    except RecursionError:
        _stop("what was given is nested too deeply, or a function of it calls itself without end", BAD)
    except Exception as error:
        if hasattr(error, "format_message"):  # one of the command line's own complaints
            _stop(error.format_message(), BAD)  # type: ignore[attr-defined]
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            _stop("the memory of this machine does not suffice: take fewer points, or narrower networks", BAD)
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = str(error).strip() or "no message"
        _stop(f"a fault of largen itself, please report it: {type(error).__name__}: {said} ({at.filename}, line {at.lineno})", FAULT)
    finally:
        sys.stdout = out
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted() -> NoReturn:
    """Leave at once: an orderly shutdown of Python can crash on computations that still run in other threads."""
    _say("interrupted; nothing was written")
    os._exit(INTERRUPTED)


def _stop(message: str, code: int) -> NoReturn:
    words = " ".join(message.split())
    _say(words if len(words) <= LONG else f"{words[: LONG * 2 // 3]} ... {words[-LONG // 3 :]}")
    sys.exit(code)


def _say(words: str) -> None:
    try:
        print(f"largen: {words}", file=sys.stderr or None, flush=True)
    except OSError:
        abandon(sys.stderr)
