"""The critical initialisation of a model that exists already: what feeds each layer, and so the variances of its parameters.

The rule is that of `lg.mlp(C="critical")`, `activations/start.py`; variances are numbers of parameters by `parametrizations/table.py`.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from largen import door
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.critical import critical
from largen.activations.start import variances
from largen.adapters.roles import INPUTS, Feed, Role, Roles
from largen.display import Columns, Record, aligned, stacked
from largen.errors import InputError
from largen.parametrizations.table import parameter

LARGEST = 1e30  # standard deviations up to which draws fit float32


class Size(NamedTuple):
    """A layer that can be set."""

    name: str
    fan_in: float
    bias: bool


@dataclass(frozen=True, repr=False, kw_only=True)
class InitialisedLayer(Record):
    """One layer as it was set.

    Attributes
    ----------
    name : str
        In the model.
    activation : str
        What feeds it; "inputs" for the inputs.
    fan_in : float
        How many inputs an output sums over; of a transposed convolution, where outputs differ in it, the mean.
    C_W : float
        Variance of a weight times fan_in.
    C_b : float
        Variance of a bias.
    std : float
        Of a weight, sqrt(C_W/fan_in).
    note : str
        What else is to know.
    """

    name: str
    activation: str
    fan_in: float
    C_W: float
    C_b: float
    std: float
    note: str = ""


@dataclass(frozen=True, repr=False, kw_only=True)
class Initialisation(Record):
    """What was set in a model, layer by layer; prints as a table.

    Attributes
    ----------
    layers : tuple of InitialisedLayer
        What was set.
    left : dict
        Name -> reason: what has parameters and was left alone.
    notes : tuple of str
        What to know of the whole.
    scales : dict
        Name -> number: the factors of normalisations that end a branch, as they were set.
    """

    layers: tuple[InitialisedLayer, ...]
    left: Mapping[str, str]
    notes: tuple[str, ...] = ()
    scales: Mapping[str, float] = field(default_factory=dict)

    def _columns(self) -> Columns:
        return stacked(self.layers)

    def __str__(self) -> str:
        head = ("layer", "fed by", "fan_in", "C_W", "C_b", "std", "")
        rows = [
            (r.name or "(model)", r.activation, f"{r.fan_in:.10g}", f"{r.C_W:.4g}", f"{r.C_b:.4g}", f"{r.std:.4g}", r.note)
            for r in self.layers
        ]
        lines = aligned([head, *rows])
        lines += [f"set: the weight of {name} to {value:.4g}, as it ends a branch" for name, value in self.scales.items()]
        lines += [f"left alone: {name or '(model)'}, {reason}" for name, reason in self.left.items()]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class Found:
    """A layer before it is set: what feeds it, the names of the layers whose outputs reach it (`sources`), and the part of the critical
    C_W and C_b that is its `share` (see `adapters/streams.py`), and whether a normalisation stands between it and the inputs (`normed`)."""

    name: str
    fan_in: float
    bias: bool
    feed: Feed
    sources: tuple[str, ...]
    note: str = ""
    share: float = 1.0
    normed: bool = False


def stds(layer: InitialisedLayer) -> tuple[float, float]:
    """Standard deviations of the weights and of the biases of a layer."""
    return layer.std, float(parameter(layer.C_b).std)


def said(activation: Any, names: Sequence[str]) -> tuple[Activation | None, dict[str, Feed]]:
    """The argument `activation` in two parts: one for all layers (or None), and those said by name."""
    if activation is None:
        return None, {}
    if not isinstance(activation, Mapping):
        return as_activation(activation), {}
    for name in activation:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1) or list(names[:1])
            fix = f"Did you mean {near[0]!r}?" if near else ""
            raise InputError("activation", f"the layer {name!r}", f"names of layers: {', '.join(names) or 'there are none'}", fix)
    return None, {name: INPUTS if value == INPUTS else as_activation(value) for name, value in activation.items()}


def unsaid(missing: dict[str, str], named_only: dict[str, str], hint: str = "") -> InputError:
    """The error for layers (name -> why) of which it is not known what feeds them; those of `named_only` have to be said by name, as one
    activation for all would not be right for them. `hint`: how the library's reader can be given more to see."""
    reasons: dict[str, list[str]] = {}
    for name, why in (missing | named_only).items():
        reasons.setdefault(why, []).append(name or "(model)")
    listed = "; ".join(f"{_few(names)}: {why}" for why, names in reasons.items())
    example = ", ".join(f'"{name}": "relu"' for name in list(missing | named_only)[:3])
    alike = "" if named_only else '; or activation="relu" if one is right for all of them'
    fix = f'{listed}. {hint}Say it by name, activation={{{example}}}, with "inputs" for what the inputs feed{alike}.'
    got = f"layers of which it is not known what feeds them ({_few([name or '(model)' for name in missing | named_only])})"
    return InputError("activation", got, "what feeds every layer", fix)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def settled(sizes: Sequence[Size], read: Roles, activation: Any, hint: str = "") -> tuple[list[Found], dict[str, str]]:
    """The layers with what feeds them, by the graph of roles and what was said; and those that the graph does not reach."""
    everywhere, by_name = said(activation, [size.name for size in sizes])
    found, left, missing, strict = [], {}, {}, {}
    for name, fan_in, bias in sizes:
        role = read.layers.get(name)
        if role is None and name not in by_name:
            left[name] = "not reached by tracing forward"
            continue
        role = role or Role(None)
        feed, note = role.feed, role.note
        if name in by_name:
            feed, note = by_name[name], "; ".join(filter(None, ("said", note)))
        elif role.open:
            strict[name] = role.open
        elif feed is None and everywhere is not None:
            feed, note = everywhere, "; ".join(filter(None, ("said", note)))
        elif feed is None:
            missing[name] = role.unread
        if feed is not None:
            found.append(Found(name, fan_in, bias, feed, role.sources, note, role.share, role.normed))
    if missing or strict:
        raise unsaid(missing, strict, hint)
    return found, left


def fed_by(feed: Feed | None) -> float:
    """The C_W to advise for a weight that is not set: 1 where an activation without critical point feeds it."""
    return critical(feed if isinstance(feed, Activation) else "linear").C_W or 1.0


def foreign_numbers(role: Role, fan_in: float | None = None) -> str:
    """What a weight wants that is not the weight of a layer that can be set."""
    C_W = fed_by(role.feed) * role.share
    wanted = f"variance {C_W:.4g}/fan_in" if fan_in is None else f"std {parameter(C_W, fan_in).std:.4g}"
    return f"not the weight of a layer that can be set; it wants the {wanted}" + (f" ({role.note})" if role.note else "")


def planned(
    found: Sequence[Found],
    left: Mapping[str, str],
    input_scale: Any,
    argument: str,
    scales: Mapping[str, float],
) -> Initialisation:
    """The table of C_W, C_b and std; raises before anything is written, about the `argument` that the model is."""
    scale = door.number(input_scale, "input_scale", low=0.0, strict=True)
    if not found:
        raise InputError(argument, "a model without a layer that could be set", "at least one dense or convolutional layer")
    layers: list[InitialisedLayer] = []
    for layer in found:
        first = layer.feed == INPUTS
        phi = _follower(layer, found, argument) if first else as_activation(layer.feed)
        fed = variances(phi, (1.0 if layer.normed else scale) if first else None, f"layer {layer.name}")
        C_W, C_b = (float(C) * layer.share for C in fed)
        if C_b > 0 and not layer.bias:
            need = f"biases of variance C_b = {C_b:.4g}: the critical point of {phi.name} needs them"
            raise InputError(argument, f"the layer {layer.name or '(model)'} without biases", need, "Make the layer with biases.")
        fed, std = INPUTS if first else phi.name, float(parameter(C_W, layer.fan_in).std)
        layers.append(InitialisedLayer(name=layer.name, activation=fed, fan_in=layer.fan_in, C_W=C_W, C_b=C_b, std=std, note=layer.note))
    if not all(layer.std < LARGEST for layer in layers):
        raise InputError("input_scale", f"{scale:g}, with which parameters leave float32", "|x|^2/n_0 of the inputs, 1 if standardised")
    distinct = {layer.activation for layer in layers} - {INPUTS, "linear"}
    several = f"Several activations ({', '.join(sorted(distinct))}): each layer is critical by itself; they share no K*."
    return Initialisation(layers=tuple(layers), left=dict(left), notes=(several,) if len(distinct) > 1 else (), scales=dict(scales))


def _follower(first: Found, found: Sequence[Found], argument: str) -> Activation:
    """The activation after a layer that the inputs feed; linear layers in between are looked through."""
    after: set[Activation] = set()
    seen, todo = {first.name}, [first.name]
    while todo:
        name = todo.pop()
        for layer in found:
            if name in layer.sources and isinstance(layer.feed, Activation):
                if layer.feed.name != "linear":
                    after.add(layer.feed)
                elif layer.name not in seen:
                    seen.add(layer.name)
                    todo.append(layer.name)
    if len({variances(phi, 1.0, f"layer {first.name}") for phi in after}) > 1:
        names = ", ".join(sorted(phi.name for phi in after))
        need = "one activation after the layer that the inputs feed"
        raise InputError(
            argument,
            f"the layer {first.name} followed by {names}",
            need,
            f'Say what it is to be critical for: activation={{"{first.name}": "linear"}} keeps sizes there.',
        )
    return min(after, key=lambda phi: phi.name) if after else as_activation("linear")
