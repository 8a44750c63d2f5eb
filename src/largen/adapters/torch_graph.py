"""A PyTorch model's `forward` as a graph of roles: of `torch.export` on an example, of torch.fx, or of a sequence in order."""

import inspect
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.fx.node import map_arg

from largen.adapters.roles import Node
from largen.adapters.torch_ops import Option, node_of
from largen.adapters.torch_weights import PARTS, is_affine, own_weight
from largen.errors import InputError

Graph: TypeAlias = tuple[list[Node], list[Node]]  # nodes in order, and the outputs
FOREIGN = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder, nn.TransformerDecoderLayer)
AUGMENTED = {"iadd", "isub", "imul", "itruediv", "ifloordiv", "imatmul", "ipow", "imod", "iand", "ior", "ixor", "setitem"}
TRANSPOSED = ("T", "mT", "H", "mH", "data", "real")  # attributes that are the same numbers
FRESH = {
    "clone",
    "repeat",
    "mul",
    "truediv",
    "div",
    "add",
    "sub",
    "rsub",
    "matmul",
    "bmm",
    "einsum",
    "pow",
    "sum",
    "softmax",
    "where",
    "maximum",
}


class OrderError(Exception):
    """A value is changed in place and read again: the traced graph does not say which of the two a reader saw."""


def graph_of(model: nn.Module, example: Any) -> tuple[Graph | None, str]:
    """The graph; or none, and why."""
    if example is not None:
        return exported(model, example), ""
    if is_affine(model):
        return _in_order(model), ""
    try:
        return traced(model), ""
    except OrderError as error:
        return None, str(error)
    except Exception as error:  # forward is user code run on proxies: anything may be raised
        if _is_sequence(model):
            return _in_order(model), ""
        return None, f"forward could not be traced ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]})"


def exported(model: nn.Module, example: Any) -> Graph:
    """The functional graph of `torch.export`: operations in place are undone there, and parameters have their names."""
    args = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    try:
        with warnings.catch_warnings():  # torch's own, about its own insides
            warnings.simplefilter("ignore")
            program = torch.export.export(model, args, strict=False).run_decompositions({})
    except Exception as error:
        got = f"an example that torch.export does not run forward on ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]})"
        raise InputError("example", got, "a batch of inputs as forward takes it, a tuple for several arguments") from error
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}

    def one(node: fx.Node, args: list[Any], option: Option) -> Node:
        schema = getattr(node.target, "_schema", None)
        name = schema.name.split("::")[-1] if schema is not None else getattr(node.target, "__name__", str(node.target))
        return node_of(name, args, option, _weights(model))

    return _walked(program.graph, lambda node: names.get(node.name), one)


def traced(model: nn.Module) -> Graph:
    """The graph of torch.fx; raises whatever tracing raises, and `OrderError`."""
    graph = _Tracer().trace(model)
    weights = _weights(model)

    def one(node: fx.Node, args: list[Any], option: Option) -> Node:
        if node.op == "call_module":
            return _module(str(node.target), model.get_submodule(str(node.target)), args)
        name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        if node.target is getattr:
            kept = args[0].kind == "parameter" or node.args[1] in TRANSPOSED
            return args[0] if kept else Node("unknown", f"the attribute {node.args[1]}", (args[0],))
        if node.op == "call_function" and not _is_known(node.target, name):
            return Node("unknown", f"the function {name}", tuple(arg for arg in args if isinstance(arg, Node)))
        return node_of(name, args, option, weights)

    _check_order(model, graph)
    return _walked(graph, lambda node: str(node.target) if node.op == "get_attr" else None, one)


def _walked(graph: fx.Graph, parameter: Callable[[fx.Node], str | None], one: Callable[..., Node]) -> Graph:
    made: dict[fx.Node, Node] = {}
    outputs: list[Node] = []
    for node in graph.nodes:
        values: Any = made.__getitem__  # arguments with values of our graph for values of theirs
        args = list(map_arg(node.args, values))
        kwargs = dict(map_arg(node.kwargs, values))

        def option(keyword: str, at: int, default: Any, args: list[Any] = args, kwargs: dict[str, Any] = kwargs) -> Any:
            return kwargs[keyword] if keyword in kwargs else args[at] if at < len(args) else default

        name = parameter(node)
        if node.op == "output":
            outputs = [made[one] for one in node.all_input_nodes]
        elif name is not None:
            made[node] = Node("parameter", name)
        elif node.op == "placeholder":
            made[node] = Node("inputs")
        else:
            made[node] = one(node, [*args, *kwargs.values()], option)
    return list(dict.fromkeys(made.values())), outputs


def _module(name: str, module: nn.Module, args: list[Any]) -> Node:
    before = tuple(arg for arg in args if isinstance(arg, Node))
    kind = type(module)
    if is_affine(module):
        return Node("affine", name, before[:1])
    if isinstance(module, FOREIGN):
        return Node("foreign", name, before[2:3] or before[:1])
    if not kind.__module__.startswith("torch.nn.") or isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.RNNBase)):
        return Node("unknown", f"the module {name} ({kind.__name__})", before)
    if isinstance(module, nn.PReLU):
        slopes = module.weight.detach().unique().tolist()
        return (
            Node("activation", f"leaky_relu({slopes[0]!r})", before)
            if len(slopes) == 1
            else Node("unknown", f"{name} (PReLU of several slopes)", before)
        )

    def option(keyword: str, at: int, default: Any) -> Any:
        return args[at] if at == 0 and args else getattr(module, keyword, default)

    return node_of(kind.__name__, args, option, {}, f"{name}.weight" if isinstance(getattr(module, "weight", None), nn.Parameter) else "")


def _weights(model: nn.Module) -> dict[str, str]:
    """The names of weights of layers that can be set, and of what they are made of -> the layers."""
    affine = [name for name, module in model.named_modules() if is_affine(module) and own_weight(module) is not None]
    return {f"{name}.{part}".lstrip("."): name for name in affine for part in PARTS}


def _is_known(target: Any, name: str) -> bool:
    return any(getattr(place, name, None) is target for place in (torch, nn.functional, operator, torch.special))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_affine(m) or super().is_leaf_module(m, module_qualified_name)


def _check_order(model: nn.Module, graph: fx.Graph) -> None:
    """Raise where a value is read after it, or what it shares memory with, was changed in place."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    root: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else node.kwargs.get("input")
        changes = _in_place(model, node)
        shares = isinstance(first, fx.Node) and node.op != "output" and (changes or _may_share(model, node))
        root[node] = root[first] if shares and isinstance(first, fx.Node) else node
        if not changes or not isinstance(first, fx.Node):
            continue
        for other in graph.nodes:
            stale = [one for one in other.all_input_nodes if order[one] < order[node] and root[one] is root[first]]
            if order[other] > order[node] and stale:
                what = f"the module {node.target}" if node.op == "call_module" else getattr(node.target, "__name__", node.target)
                raise OrderError(f"a value is changed in place ({what}) and read again later")


def _in_place(model: nn.Module, node: fx.Node) -> bool:
    if node.kwargs.get("out") is not None:
        raise OrderError(f"{getattr(node.target, '__name__', node.target)} writes to out=")
    if node.op == "call_module":
        return bool(getattr(model.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        name = str(node.target)
        return (name.endswith("_") and not name.endswith("__")) or name in (
            "__iadd__",
            "__isub__",
            "__imul__",
            "__itruediv__",
            "__setitem__",
        )
    if node.op != "call_function":
        return False
    name = getattr(node.target, "__name__", "")
    if (name.endswith("_") and not name.endswith("__")) or name in AUGMENTED:
        return True
    try:
        return bool(inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments.get("inplace", False))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # built-in functions have no signature, and no such argument
        return bool(node.kwargs.get("inplace", False))


def _may_share(model: nn.Module, node: fx.Node) -> bool:
    """Whether the result may be the memory of the first argument: views, and what does nothing."""
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return _module("", module, [Node("inputs")]).kind in ("through", "pool") and not is_affine(module)
    name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    made = node_of(name, [Node("inputs")], lambda _, at, default: default if at else Node("inputs"), {})
    return made.kind in ("through", "pool", "unknown") and name not in FRESH


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _in_order(model: nn.Module) -> Graph:
    nodes = [Node("inputs")]
    for name, module in _flat(model, ""):
        nodes.append(_module(name, module, [nodes[-1]]))
    return nodes, nodes[-1:]


def _flat(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if not _is_sequence(module):
        yield name, module
        return
    for key, child in module.named_children():
        yield from _flat(child, f"{name}.{key}" if name else key)
