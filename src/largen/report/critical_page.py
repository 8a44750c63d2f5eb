"""The page of `largen critical`: recipe, class, picture and lines to paste, on the terminal."""

import functools
import importlib
import math
import os
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from largen import door
from largen.activations.activation import Activation, activation
from largen.activations.critical import Critical, critical
from largen.activations.gain import gain
from largen.activations.statistics import statistics
from largen.architecture.presets import mlp
from largen.data.files import first_line
from largen.errors import InputError, shown
from largen.questions.depth import how_deep
from largen.theory.signal.signal import signal

WIDTH = 512  # of a hidden layer, where none is said
FUNCTION = "module:function, a function of jax.numpy arrays, such as mymodel:my_activation"
LAYERS = (1, 2, 3, 5, 10, 20, 50, 100)
BAR, DECADES = 24, 3.0  # length of a bar, for so many powers of ten around its middle


def from_module(place: str, kinks: tuple[float, ...] = ()) -> Activation:
    """The activation `module:function`, the module looked for in the current folder first. Raises `InputError`."""
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise InputError("callable", shown(place), FUNCTION)
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
        if not callable(found):
            raise TypeError(f"a {type(found).__name__}, which is no function")
    except (Exception, SystemExit) as error:  # whatever the user's module does on import
        raise _failed(place, error) from error
    finally:
        sys.path.pop(0)

    @functools.wraps(found)
    def guarded(z: Any) -> Any:
        try:
            return found(z)
        except (Exception, SystemExit) as error:  # and the function, at whatever array
            raise _failed(place, error) from error

    try:
        return activation(guarded, kinks=kinks)
    except InputError as error:
        raise (error.__cause__ if isinstance(error.__cause__, InputError) else error) from None


def _failed(place: str, error: BaseException) -> InputError:
    return InputError("callable", f"{place!r}, which raised {type(error).__name__}: {first_line(error)}", FUNCTION)


def page(point: Critical, console: Console, width: int = WIDTH) -> None:
    """Print the page; how deep and the lines to paste are for hidden layers of that width."""
    name, width = point.activation.name, door.count(width, "width")
    deep = () if point.C_W is None else how_deep(point.activation, width).sentences
    console.print()
    console.print(Text(f"{name}: {_headline(point)}", style="bold"))
    console.print(point.reason)
    if point.C_W is None or point.C_b is None:
        _none(point, console)
        return
    console.print()
    _recipe(point, console)
    if point.universality != "K*=0" or point.stable_from:  # else it explodes within layers
        _picture(point, console)
    _growth(point, console)
    for sentence in deep:
        console.print(sentence)
    _paste(point, console, width)


def _headline(point: Critical) -> str:
    if point.universality == "scale-invariant":
        return "scale-invariant, critical at any size"
    if point.universality == "K*=0":
        return "critical at K* = 0" + ("" if point.stable_from else ", unstable")
    return "no critical initialisation" if point.K_star is None else f"half-stable, critical at K* = {point.K_star:.4g}"


def _recipe(point: Critical, console: Console) -> None:
    lines = [("hidden, output layers", f"W ~ N(0, {point.C_W:.6g}/fan_in), {f'b ~ N(0, {point.C_b:.6g})' if point.C_b else 'b = 0'}")]
    if point.K_star:
        first = f"{point.K_star - (point.C_b or 0):.6g}"
        lines.append(("first layer", f"W ~ N(0, {first}/fan_in), if |x|^2/n_0 = 1; else {first}/(|x|^2/n_0)"))
    preserving = gain(point.activation) ** 2
    if abs(preserving / point.C_W - 1) > 1e-6:  # type: ignore[operator]
        lines.append(("not the same", f"preserving the variance at size 1: C_W = gain^2 = {preserving:.4g}"))
    for label, text in lines:
        console.print(f"{label:<23}{text}", markup=False)


def _picture(point: Critical, console: Console) -> None:
    """K layer by layer from three starts, and chi at the middle one."""
    unit = point.K_star or 1.0
    depth = LAYERS[-1]
    net = mlp([1] * (depth - 1), activation=point.activation, C_W=[1.0, *[point.C_W] * (depth - 1)], C_b=[0.0, *[point.C_b] * (depth - 1)])
    starts = np.array([0.25, 1.0, 4.0]) * unit
    found = signal(net, np.sqrt(starts)[:, None])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("layer", *(f"K from {s:.3g}" for s in starts), "", "chi_par", "chi_perp"):
        table.add_column(column, no_wrap=True, justify="left" if not column else "right")
    for layer in LAYERS:
        K = np.asarray(found.q)[layer - 1] ** 2
        chi = [f"{np.asarray(v)[layer - 1, 1]:.4f}" if layer < depth else "" for v in (found.chi_par, found.chi_perp)]
        table.add_row(str(layer), *(f"{k:.3g}" for k in K), _bar(float(K[1]), unit), *chi)
    console.print()
    console.print(table)


def _bar(K: float, unit: float) -> str:
    if not math.isfinite(K):
        return "█" * BAR
    place = 0.5 + math.log10(max(K, 1e-300) / unit) / (2 * DECADES)
    return "█" * max(1, min(BAR, round(BAR * place)))


def _growth(point: Critical, console: Console) -> None:
    """What becomes of sizes and angles in deep layers."""
    growth = point.growth or {}
    console.print()
    if point.universality == "half-stable":
        console.print(
            f"No layer is unlike another for some {float(f'{point.candidates[0].onset:.2g}'):,.0f} layers; only then do powers of l show."
        )
    elif point.universality == "K*=0" and "K" in growth:
        console.print(f"Deep down: sizes K ~ {growth['K']}.")
    elif "perpendicular" in growth and growth["perpendicular"].coefficient is not None and growth["perpendicular"].power:
        bend = 2 * growth["perpendicular"].coefficient ** 0.5  # K_[2] = K sin^2(angle/2)
        console.print(f"Deep down: all angles between inputs close, as {bend:.3g}/l (in radians).")


def _paste(point: Critical, console: Console, width: int) -> None:
    phi = point.activation
    called = repr(phi.name) if phi.registered else phi.name
    said = "" if phi.registered else f", activation={phi.name}"
    console.print()
    console.print("PyTorch:", style="dim")
    console.print(f"  import largen as lg\n  lg.torch.init_(model{said})", highlight=False, markup=False)
    console.print("JAX:", style="dim")
    console.print(
        f'  net = lg.mlp(widths=[{width}] * 9, out=10, activation={called}, C="critical")\n  params = lg.init(net, 784, jax.random.key(0))',
        highlight=False,
        markup=False,
    )


def _none(point: Critical, console: Console) -> None:
    """What to do instead: the nearest thing there is."""
    known = statistics(point.activation)
    at = float(known.taylor[:, 0].mean())
    console.print()
    if abs(at) > 1e-9 and (known.taylor[:, 1] ** 2).mean() > 0:
        phi = point.activation
        shifted = critical(Activation(phi.name, lambda z: phi(z) - at, phi.kinks, registered=False))
        if shifted.C_W is not None and shifted.C_b is not None:
            named = f"phi(z) {'-' if at > 0 else '+'} {abs(at):.4g}"
            console.print(f"Shifted by its value at 0, {named} is {_headline(shifted)}: C_W = {shifted.C_W:.6g}, C_b = {shifted.C_b:.6g}.")
    console.print(
        f"C_W = gain^2 = {gain(point.activation) ** 2:.4g} with C_b = 0 keeps sizes at 1 from layer to layer, but not small differences: "
        "keep such a network shallow, or normalise."
    )
