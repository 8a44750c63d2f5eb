"""PyTorch's modules, functions, methods and ATen operations by name, as roles of `adapters/roles.py`."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from largen.adapters.roles import PRODUCT, Node, is_softmax, softmax_of, summed

SILENT = {"identity", "flatten", "unflatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "getitem"}
SILENT |= {
    "to",
    "float",
    "double",
    "half",
    "bfloat16",
    "type_as",
    "to_copy",
    "clone",
    "t",
    "movedim",
    "swapaxes",
    "ravel",
    "expand",
    "repeat",
}
SILENT |= {
    "chunk",
    "split",
    "split_with_sizes",
    "tensor_split",
    "unbind",
    "select",
    "slice",
    "narrow",
    "unsafe_view",
    "alias",
    "detach",
    "roll",
    "flip",
}
SILENT |= {
    "pad",
    "constant_pad_nd",
    "zeropad2d",
    "unfold",
    "pixelshuffle",
    "pixel_shuffle",
    "pixelunshuffle",
    "pixel_unshuffle",
    "numpy_t",
    "mt",
}
PLAIN = {"relu", "tanh", "sigmoid", "mish", "selu", "silu", "softsign", "sin", "cos", "erf", "abs", "sign", "arctan", "exp"}
ALIASES = {"leakyrelu": "leaky_relu", "atan": "arctan", "truediv": "div", "itruediv": "div", "true_divide": "div", "divide": "div"}
ALIASES |= {
    "imul": "mul",
    "multiply": "mul",
    "iadd": "add",
    "isub": "sub",
    "subtract": "sub",
    "imatmul": "matmul",
    "clip": "clamp",
    "negative": "neg",
}
NORM = re.compile(r"(layer|batch|group|instance|rms|local_?response)_?norm(\d?d|alize)?|normalize|native_\w+_norm\w*")
LINEAR = {"linear", "conv1d", "conv2d", "conv3d", "convolution", "matmul", "mm", "addmm", "einsum"}
LINEAR |= {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
Option: TypeAlias = Callable[[str, int, Any], Any]  # (keyword, position, default) -> value of a call's argument


def node_of(name: str, args: Sequence[Any], option: Option, layers: Mapping[str, str], weight: str = "") -> Node:
    """One operation as a node. `args`: its arguments, values of the graph as nodes; `layers`: parameter name -> the layer whose weight
    it is; `weight`: the parameter that multiplies what a normalisation module leaves."""
    key = name.lower().strip("_")
    key = ALIASES.get(key, key)
    values = [one for arg in args for one in (arg if isinstance(arg, (list, tuple)) else (arg,)) if isinstance(one, Node)]
    data = tuple(one for one in values if one.kind != "parameter")
    if not data:
        return values[0] if len(values) == 1 else Node("parameter", values[0].label if values else f"the tensor of {name}")
    if key in LINEAR and len(data) < len(values):
        owner = next(one.label for one in values if one.kind == "parameter")
        return Node("affine", layers[owner], data[:1]) if owner in layers else Node("foreign", owner, data[:1])
    if NORM.fullmatch(key):
        own = [one.label for one in values if one.kind == "parameter" and one.label.endswith("weight")]
        return Node("norm", f"{name}: it resets the size of signals", data[:1], weight=weight or "".join(own[:1]))
    binary = _binary(key, name, args, option)
    if binary is not None:
        return binary
    kind, label = _unary(key, name, option)
    if kind == "unknown" and key == "softmax":
        return softmax_of(data[0])
    if kind == "join":
        return Node("join", label, data)
    return Node(kind, label, data if kind == "unknown" else data[:1])


def _unary(key: str, name: str, option: Option) -> Any:
    """(kind, label) of an operation on one value."""
    if key in PLAIN:
        return "activation", key
    if key == "gelu":
        return "activation", "gelu" if option("approximate", 1, "none") == "none" else "gelu_tanh"
    if key == "leaky_relu":
        return "activation", f"leaky_relu({float(option('negative_slope', 1, 0.01))!r})"
    if (key == "elu" and option("alpha", 1, 1.0) == 1) or (key == "softplus" and option("beta", 1, 1) == 1):
        return "activation", key
    if key in ("hardtanh", "clamp", "clamp_min"):
        low, high = ("min_val", "max_val") if key == "hardtanh" else ("min", "max")
        ends = option(low, 1, -1.0 if key == "hardtanh" else None), option(high, 2, 1.0 if key == "hardtanh" else None)
        known = {(-1, 1): "hardtanh", (0, None): "relu"}
        return ("activation", known[ends]) if ends in known else ("unknown", f"the operation {name}")
    if key in SILENT:
        picked = option("", 1, None) if key == "getitem" else None
        steps = [one.step for one in (picked if isinstance(picked, tuple) else (picked,)) if isinstance(one, slice)]
        steps += [option("step", 4, 1)] if key == "slice" else []
        return ("pool" if any(step not in (None, 1) for step in steps) else "through"), ""
    if key in ("cat", "concat", "concatenate", "stack", "hstack", "vstack"):
        return "join", name
    if "dropout" in key:
        return "through", f"{name}: in training it divides <phi^2> by 1 - p"
    if key == "scaled_dot_product_attention":
        return "through", ""
    if "pool" in key or key in ("mean", "interpolate", "upsample") or key.startswith("upsample"):
        return "pool", f"{name}: it changes the size of signals"
    return "unknown", f"the operation {name}"


def _binary(key: str, name: str, args: Sequence[Any], option: Option) -> Node | None:
    """Sums, products and quotients; None for everything else."""
    first = option("input", 0, None)
    second = option("other", 1, None)
    if key == "neg" and isinstance(first, Node):
        return Node("scale", "", (first,), (-1.0,))
    if key in ("add", "sub", "rsub"):
        a, b = (second, first) if key == "rsub" else (first, second)
        alpha = option("alpha", 2, 1) * (1 if key == "add" else -1)
        if isinstance(a, Node) and isinstance(b, Node) and isinstance(alpha, (int, float)):
            one, two = (1.0, float(alpha)) if key != "rsub" else (-float(alpha), -1.0)
            return summed(((a, one if key != "rsub" else 1.0), (b, two if key != "rsub" else float(alpha))))
        constant = b if isinstance(a, Node) else a
        value = a if isinstance(a, Node) else b
        if constant == 0 and isinstance(value, Node):
            return Node("through", "", (value,))
        return Node("unknown", f"a constant added ({name})", tuple(one for one in (a, b) if isinstance(one, Node)))
    if key in ("mul", "div"):
        pair = tuple(one for one in (first, second) if isinstance(one, Node))
        if len(pair) == 1 and isinstance(first, Node) and isinstance(second, (int, float)) and second == second:
            c = float(second) if key == "mul" else (1 / float(second) if second else math.inf)
            return Node("scale", "", pair, (c,))
        if len(pair) == 1 and key == "mul" and isinstance(first, (int, float)):
            return Node("scale", "", pair, (float(first),))
        return _product(key, name, pair)
    if key in ("matmul", "bmm", "einsum"):
        pair = [one for one in args if isinstance(one, Node)] or [one for arg in args if isinstance(arg, (list, tuple)) for one in arg]
        scores = [one for one in pair if is_softmax(one)]
        if len(pair) == 2 and len(scores) == 1:  # a mean of values over positions, with weights that add up to 1
            return Node("through", "", tuple(one for one in pair if one is not scores[0]))
        return Node("unknown", f"the operation {name}", tuple(pair))
    if key == "scaled_dot_product_attention":
        value = option("value", 2, None)
        return Node("through", "", (value,)) if isinstance(value, Node) else None
    return None


def _product(key: str, name: str, pair: tuple[Node, ...]) -> Node:
    """A product or quotient of two values: a normalisation by a statistic of the same value, its own weight, or unknown."""
    for value, other in ((pair, pair[::-1]) if key == "mul" else (pair,)) if len(pair) == 2 else ():
        if other.kind == "parameter" and _normalised(value) is not None:
            norm = _normalised(value)
            return Node("norm", norm.label if norm else "", value.before or (value,), weight=other.label)
        if _is_drawn(other):
            return Node("through", f"{name} with a random mask (dropout): in training it divides <phi^2> by 1 - p", (value,))
        if _is_root_of(other, value):
            weight = value.label.removeprefix(PRODUCT) if value.label.startswith(PRODUCT) else ""
            return Node("norm", "a normalisation by hand: it resets the size of signals", (value,), weight=weight)
    parameters = [one.label for one in pair if one.kind == "parameter"]
    if parameters:
        return Node("unknown", PRODUCT + parameters[0], tuple(one for one in pair if one.kind != "parameter"))
    return Node("unknown", f"the operation {name}", pair)


def _is_drawn(node: Node) -> bool:
    while node.kind in ("through", "scale"):
        node = node.before[0]
    return node.kind == "unknown" and "bernoulli" in node.label


def _normalised(node: Node) -> Node | None:
    """The normalisation without a weight yet that a value comes from directly."""
    while node.kind == "through":
        node = node.before[0]
    return node if node.kind == "norm" and not node.weight else None


def _is_root_of(other: Node, value: Node) -> bool:
    """Whether `other` is a root of a statistic of what `value` is, up to its mean."""
    rooted, depth = False, 0
    while depth < 12 and other.before:
        rooted |= other.kind == "unknown" and bool(
            re.search(r"operation r?sqrt|operation std|operation pow|operation \w*norm", other.label)
        )
        base = value
        while True:
            if other is base and depth:
                return rooted
            if base.kind != "through" and not base.label.startswith(PRODUCT):
                break
            base = base.before[0]
        if other.kind in ("affine", "foreign", "activation", "sum", "join"):
            return False
        other, depth = other.before[0], depth + 1
    return rooted and other is value
