"""What feeds each layer of a PyTorch model: its `forward` as a graph, walked back from every affine layer.

The graph is torch.fx's, or the modules of an `nn.Sequential` in order. A node is read as one of: the inputs, an affine layer, an
activation, something to look through, a join (concatenation), or something unknown, with its description.
"""

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import fx, nn

from largen.activations.activation import Activation, activation as as_activation
from largen.adapters.initialisation import INPUTS, Feed, Found, said, unsaid
from largen.errors import InputError

AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Affine: TypeAlias = "nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d"
SILENT = {"identity", "flatten", "unflatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous"}
SILENT |= {"to", "float", "double", "half", "bfloat16", "clone", "t", "getitem", "movedim", "swapaxes", "ravel", "expand", "repeat"}
PLAIN = {"relu", "tanh", "sigmoid", "mish", "selu", "silu", "softsign", "sin", "cos", "erf", "abs", "sign", "arctan", "exp"}
ALIASES = {"leakyrelu": "leaky_relu", "atan": "arctan"}
Option = Callable[[str, int, Any], Any]  # (keyword, position, default) -> value of a call's argument


@dataclass(frozen=True, eq=False)
class Node:
    """`kind`: inputs, affine, activation, through, join or unknown; `label`: layer name, activation, note or description."""

    kind: str
    label: str
    before: tuple["Node", ...] = ()


def layers(model: nn.Module, activation: Any) -> tuple[list[Found], dict[str, str]]:
    """Every layer to be set with what feeds it, in the order of `named_modules`; and what is left alone, with the reason."""
    affine = {name: module for name, module in model.named_modules() if is_affine(module)}
    left = _others(model, affine)
    everywhere, by_name = said(activation, list(affine))
    graph, failure = _graph(model)
    order = list(affine)
    owners = {id(p): name for name, module in reversed(list(model.named_modules())) for p in module.parameters(recurse=False)}
    found, missing = [], {}
    for name, module in affine.items():
        if name in left:
            continue
        if owners[id(module.weight)] != name:
            left[name] = f"shares its weights with {owners[id(module.weight)]}"
            continue
        calls = [node for node in graph if node.kind == "affine" and node.label == name]
        feed, note = _seen(calls) if graph else (failure, "")
        if name in by_name:
            feed, note = by_name[name], "said"
        elif graph and not calls:
            left[name] = "not reached by tracing forward"
            continue
        elif isinstance(feed, str) and feed != INPUTS and everywhere is not None:
            feed, note = INPUTS if not graph and name == order[0] else everywhere, "said"
        if isinstance(feed, str) and feed != INPUTS:
            missing[name] = feed
        else:
            sources = tuple(_sources(calls)) if graph else tuple(order)
            found.append(Found(name, math.prod(module.weight.shape[1:]), module.bias is not None, feed, sources, note))
    if missing:
        raise unsaid(missing)
    return found, left


def is_affine(module: nn.Module) -> TypeGuard[Affine]:
    """Whether the module computes b + W x as PyTorch's own layer does."""
    return isinstance(module, AFFINE) and type(module).forward in [kind.forward for kind in AFFINE]


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _others(model: nn.Module, affine: dict[str, Affine]) -> dict[str, str]:
    left = {}
    for name, module in model.named_modules():
        if name in affine:
            if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters(recurse=False)):
                need = "layers that know their fan-in"
                raise InputError("model", f"the lazy layer {name}", need, "Call the model on one batch first.")
            if not {"weight", "bias"} >= {key for key, _ in module.named_parameters()} or "weight" not in module._parameters:
                left[name] = "its weight is computed from other parameters (weight or spectral norm)"
        elif next(module.parameters(recurse=False), None) is not None and not any(name.startswith(f"{a}.") for a in affine):
            left[name] = f"{type(module).__name__} is not among nn.Linear and nn.Conv1d, 2d, 3d"
    return left


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_affine(m) or super().is_leaf_module(m, module_qualified_name)


def _graph(model: nn.Module) -> tuple[list[Node], str]:
    """The nodes of `forward` in order; or none, and why."""
    if is_affine(model):
        return list(_in_order(model)), ""
    try:
        return _from_trace(model, _Tracer().trace(model)), ""
    except Exception as error:  # forward is user code run on proxies: anything may be raised
        if _is_sequence(model):
            return list(_in_order(model)), ""
        return [], f"forward could not be traced ({type(error).__name__}: {str(error).splitlines()[0]})"


def _in_order(model: nn.Module) -> Iterator[Node]:
    node = Node("inputs", "")
    for name, module in _flat(model, ""):
        node = Node(*_module(name, module), (node,))
        yield node


def _flat(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if not _is_sequence(module):
        yield name, module
        return
    for key, child in module.named_children():
        yield from _flat(child, f"{name}.{key}" if name else key)


def _from_trace(model: nn.Module, graph: fx.Graph) -> list[Node]:
    made: dict[fx.Node, Node] = {}
    for node in graph.nodes:
        before = tuple(made[n] for n in node.all_input_nodes)
        if node.op == "placeholder":
            made[node] = Node("inputs", "")
        elif node.op == "call_module":
            made[node] = Node(*_module(str(node.target), model.get_submodule(str(node.target))), before)
        elif node.op in ("call_function", "call_method"):
            kind, label = _call(node)
            if kind == "activation" and not node.users:
                raise ValueError(f"the result of {node.target} is not used: an activation in place")
            first = node.args[0] if node.args else node.kwargs.get("input")
            made[node] = Node(kind, label, before if kind in ("join", "unknown") or not isinstance(first, fx.Node) else (made[first],))
        elif node.op == "get_attr":
            made[node] = Node("unknown", f"the tensor {node.target}")
    return list(made.values())


def _module(name: str, module: nn.Module) -> tuple[str, str]:
    kind = type(module)
    if is_affine(module):
        return "affine", name
    if not kind.__module__.startswith("torch.nn."):
        return "unknown", f"the module {name} ({kind.__name__})"
    if isinstance(module, nn.PReLU):
        slopes = module.weight.detach().unique().tolist()
        return ("activation", f"leaky_relu({slopes[0]!r})") if len(slopes) == 1 else ("unknown", f"{name} (PReLU of several slopes)")
    return _read(kind.__name__, lambda keyword, _, default: getattr(module, keyword, default))


def _call(node: fx.Node) -> tuple[str, str]:
    if node.op == "call_method":
        name = str(node.target)
    else:
        name = getattr(node.target, "__name__", str(node.target))
        if not any(getattr(place, name, None) is node.target for place in (torch, nn.functional, operator)):
            return "unknown", f"the function {name}"
    return _read(name, lambda keyword, at, default: node.kwargs.get(keyword, node.args[at] if at < len(node.args) else default))


def _read(name: str, option: Option) -> tuple[str, str]:
    """A PyTorch operation by the name of its module, function or method."""
    key = name.lower().rstrip("_")
    key = ALIASES.get(key, key)
    if key in PLAIN:
        return "activation", key
    if key == "gelu":
        return "activation", "gelu" if option("approximate", 1, "none") == "none" else "gelu_tanh"
    if key == "leaky_relu":
        return "activation", f"leaky_relu({float(option('negative_slope', 1, 0.01))!r})"
    if (key == "elu" and option("alpha", 1, 1.0) == 1) or (key == "softplus" and option("beta", 1, 1) == 1):
        return "activation", key
    if key == "hardtanh" and (option("min_val", 1, -1.0), option("max_val", 2, 1.0)) == (-1, 1):
        return "activation", key
    if key in SILENT:
        return "through", ""
    if key in ("cat", "concat", "stack"):
        return "join", name
    if "dropout" in key:
        return "through", f"{name}: in training it divides <phi^2> by 1 - p"
    if key == "normalize" or (key != "norm" and key.rstrip("123d").endswith("norm")):
        return "through", f"{name}: it resets the size of signals"
    if "pool" in key or key == "mean":
        return "through", f"{name}: it changes the size of signals"
    if key in ("add", "iadd", "sub", "isub"):
        return "unknown", f"a sum of branches ({name}), whose critical point is not that of an activation"
    return "unknown", f"the operation {name}"


def _seen(calls: list[Node]) -> tuple[Feed, str]:
    """What feeds a layer, at all its calls alike: (feed, note), or (a description of what was in the way, "")."""
    notes: dict[str, None] = {}
    feeds = {_back(node.before[0], None, notes) for node in calls}
    if len(feeds) > 1:
        return "called several times, fed by different things", ""
    return feeds.pop() if feeds else "not called", "; ".join(notes)


def _back(node: Node, after: Activation | None, notes: dict[str, None]) -> Feed:
    if node.kind == "affine":
        return after or as_activation("linear")
    if node.kind == "inputs":
        return INPUTS if after is None else f"{after.name} of the inputs themselves"
    if node.kind == "activation":
        if after is not None:
            return f"two activations in a row, {node.label} and {after.name}"
        return _back(node.before[0], as_activation(node.label), notes)
    if node.kind == "through":
        if node.label:
            notes[node.label] = None
        return _back(node.before[0], after, notes)
    if node.kind == "join":
        feeds = {_back(branch, after, notes) for branch in node.before}
        return feeds.pop() if len(feeds) == 1 else f"a concatenation ({node.label}) of different things"
    return node.label


def _sources(calls: list[Node]) -> Iterator[str]:
    """The nearest affine layers before a layer, whatever lies between."""
    todo, seen = [b for node in calls for b in node.before], set()
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.kind == "affine":
            yield node.label
        else:
            todo += node.before
