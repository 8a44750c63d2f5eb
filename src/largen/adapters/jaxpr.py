"""A JAX function of (parameters, inputs) as a graph of roles: its jaxpr, followed from the parameters to where they are used.

Contractions and convolutions with a parameter are affine layers. Elementwise operations on one value are gathered into one function of
a number, which is evaluated and compared with the activations that largen knows: by what it does, not by its name. A value times a
root of its own statistics is a normalisation; a mean over positions with softmax weights is passed; everything else is unknown.
"""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from largen.adapters.elementwise import BENT, evaluated, named
from largen.adapters.roles import PRODUCT, Node, is_softmax, softmax_of, summed

Graph = tuple[list[Node], list[Node]]
SAME = {"convert_element_type", "copy", "copy_p", "reduce_precision", "stop_gradient", "sharding_constraint", "optimization_barrier"}
SHAPES = SAME | {"reshape", "broadcast_in_dim", "squeeze", "transpose", "rev", "expand_dims", "dynamic_slice", "slice", "pad", "split"}
REDUCE = {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin", "reduce_and", "reduce_or"}
WINDOW = {"reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window"}
ROOTS = {"sqrt", "rsqrt", "pow"}
INLINE = ("jaxpr", "call_jaxpr", "fun_jaxpr")
ALGEBRA = ROOTS | {"add", "sub", "mul", "div", "max", "min", "neg", "abs", "sign", "square", "integer_pow", "cbrt", "select_n", "clamp"}
CURVES = {"exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "erf", "erfc", "erf_inv"}
ANGLES = {"sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh"}
STEPS = {"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "not", "is_finite", "floor", "ceil", "round", "rem"}
ELEMENTWISE = ALGEBRA | CURVES | ANGLES | STEPS


class CallError(Exception):
    """The model does not run on the example."""


@dataclass(eq=False)
class Value:
    """What a variable of the jaxpr holds.

    `node`: the value of the graph it comes from, None for constants and parameters; `apply`: as a function of the numbers of `node` if
    only elementwise operations lie between, with a `key` that is the same for the same function; `source`: the value that this is a
    statistic of, a reduction; `rooted`: a root was taken of it; `parameter`: the
    name of the one it was made of; `constant`: one number, where it is one."""

    node: Node | None = None
    apply: Callable[[Any], Any] | None = None
    key: int = 0
    source: "Value | None" = None
    rooted: bool = False
    parameter: str = ""
    plain: bool = False  # a parameter that was only reshaped
    constant: Any = None
    inner: tuple[float, ...] = ()  # factors that `node` had before anything else was done
    coarse: bool = False  # half precision was among it


def graph(
    function: Callable[..., Any],
    parameters: Any,
    args: Sequence[Any],
    name_of: Callable[[Any], str],
    layers: Mapping[str, str],
    normed: Container[str] = (),
) -> tuple[Graph, dict[str, float]]:
    """The graph of `function(parameters, *args)`, and the fan_in of each of its affine layers. `name_of`: the name of a parameter, of its
    path; "~" in front of it if it is none that is trained. `layers`: the name of a weight -> the layer whose weight it is; `normed`: the
    weights under a normalisation, which the program uses as it leaves them. Entries of `args` that are no arrays of floats or integers
    stay as they are."""
    try:
        leaves, tree = jax.tree_util.tree_flatten(tuple(args))
    except Exception as error:  # lists inside lists without end
        raise CallError(f"an example that is no tree of arrays ({type(error).__name__})") from error
    is_array = [isinstance(leaf, (jax.Array, np.ndarray, float, complex)) and not isinstance(leaf, bool) for leaf in leaves]
    moving = [leaf for leaf, yes in zip(leaves, is_array, strict=True) if yes]

    def run(parameters: Any, moving: list[Any]) -> Any:
        rest = iter(moving)
        return function(
            parameters,
            *jax.tree_util.tree_unflatten(tree, [next(rest) if yes else leaf for leaf, yes in zip(leaves, is_array, strict=True)]),
        )

    try:
        closed = jax.make_jaxpr(run)(parameters, moving)
    except Exception as error:  # the model is user code: anything may be raised
        raise CallError(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}") from error
    names = [name_of(path) for path, _ in jax.tree_util.tree_flatten_with_path(parameters)[0]]
    reader = _Reader(layers, normed)
    inner = closed.jaxpr
    for variable, name in zip(inner.invars, names, strict=False):
        reader.values[variable] = Value(parameter=name, plain=True)
    for variable in inner.invars[len(names) :]:
        reader.values[variable] = reader.value(Node("inputs"))
    for variable, constant in zip(inner.constvars, closed.consts, strict=True):
        reader.values[variable] = reader.literal(constant)
    reader.walk(inner)
    outputs = [reader.settle(reader.of(variable)) for variable in inner.outvars]
    return (reader.nodes, outputs), reader.fan_in


@dataclass
class _Reader:
    layers: Mapping[str, str]
    normed: Container[str]
    values: dict[Any, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    fan_in: dict[str, float] = field(default_factory=dict)
    steps: dict[tuple[Node, str, str, str], Node] = field(default_factory=dict)
    settled: dict[int, tuple[Value, Node]] = field(default_factory=dict)

    def value(self, node: Node) -> Value:
        if node not in self.known:
            self.known.add(node)
            self.nodes.append(node)
        return Value(node=node, apply=lambda z: z)

    @cached_property
    def known(self) -> set[Node]:
        return set()

    def literal(self, constant: Any) -> Value:
        if not hasattr(constant, "dtype") or jnp.issubdtype(constant.dtype, jax.dtypes.extended):
            return Value()
        array = np.asarray(constant)
        one = array.size > 0 and bool(np.all(array == array.flat[0]))
        return Value(constant=array.flat[0] if one else None)

    def of(self, variable: Any) -> Value:
        if isinstance(variable, core.Literal):
            return self.literal(np.asarray(variable.val))
        return self.values.get(variable, Value())

    def walk(self, jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            inner = next((equation.params[key] for key in INLINE if key in equation.params), None)
            inputs = [self.of(variable) for variable in equation.invars]
            if inner is not None and equation.primitive.name not in ("scan", "while", "cond"):
                body = getattr(inner, "jaxpr", inner)
                for variable, constant in zip(body.constvars, getattr(inner, "consts", ()), strict=False):
                    self.values[variable] = self.literal(constant)
                self.values.update(zip(body.invars, inputs[-len(body.invars) :] if body.invars else (), strict=True))
                self.walk(body)
                outputs = [self.of(variable) for variable in body.outvars]
            else:
                outputs = self.step(equation, inputs)
            self.values.update(zip(equation.outvars, outputs, strict=False))

    def step(self, equation: Any, inputs: list[Value]) -> list[Value]:
        name, many = equation.primitive.name, len(equation.outvars)
        if all(value.node is None for value in inputs):
            return [self.of_constants(equation, inputs)] * many
        if name in SHAPES or (name in ("gather", "dynamic_update_slice") and inputs[0].node is not None):
            return [self.reshaped(equation, inputs[0]) for _ in range(many)]
        if name in REDUCE or name in ("cumsum", "cummax", "sort", "top_k"):
            return [self.reduced(inputs[0])] * many
        if name in ELEMENTWISE:
            return [self.elementwise(equation, inputs)]
        if name in ("dot_general", "conv_general_dilated"):
            return [self.contracted(equation, inputs)]
        if name == "concatenate":
            return [self.value(Node("join", name, tuple(self.settle(one) for one in inputs if one.node is not None)))]
        if name in WINDOW:
            return [self.value(Node("pool", f"{name}: it changes the size of signals", (self.settle(inputs[0]),)))]
        what = f"a {name} (a loop or branch of the program)" if name in ("scan", "while", "cond") else f"the operation {name}"
        return [self.unknown(what, inputs)] * many

    def of_constants(self, equation: Any, inputs: list[Value]) -> Value:
        """Made of parameters and constants only."""
        named = [value for value in inputs if value.parameter]
        name = equation.primitive.name
        if named:
            free = [value for value in named if not value.rooted] or named
            first = next((value for value in named if value.parameter in self.normed), free[0])
            rooted = name in ROOTS or any(value.rooted for value in named)
            return Value(parameter=first.parameter, plain=name in SHAPES and first.plain, rooted=rooted)
        if inputs and all(value.constant is not None for value in inputs) and (name in ELEMENTWISE or name in SHAPES):
            if name in SHAPES:
                return Value(constant=inputs[0].constant)
            return Value(constant=np.asarray(evaluated(equation, [value.constant for value in inputs])).flat[0])
        return Value()

    def reshaped(self, equation: Any, value: Value) -> Value:
        """The same numbers in another place: no longer the same element as before, unless only their type changes."""
        name = equation.primitive.name
        if value.source is not None or name in SAME:
            return value
        strided = name == "slice" and any(step != 1 for step in equation.params["strides"] or ())
        return self.value(Node("pool" if strided else "through", "", (self.settle(value),)))

    def reduced(self, value: Value) -> Value:
        return Value(node=value.node, source=value.source or value, rooted=value.rooted, parameter=value.parameter)

    def elementwise(self, equation: Any, inputs: list[Value]) -> Value:
        name = equation.primitive.name
        data = [value for value in inputs if value.node is not None]
        if all(value.source is not None for value in data):
            rooted = name in ROOTS or any(value.rooted for value in inputs)
            weight = next((value.parameter for value in inputs if value.parameter), next((v.parameter for v in data if v.parameter), ""))
            return Value(node=data[0].node, source=data[0].source, rooted=rooted, parameter=weight)
        moving = [value for value in data if value.source is None]
        statistics = [value for value in data if value.source is not None]
        if len(moving) == 1 and statistics:
            return self.by_statistic(name, moving[0], statistics, inputs)
        if any(value.parameter for value in inputs if value.node is None):
            return self.by_parameter(name, moving, inputs)
        arrays = [value for value in inputs if value.node is None and value.constant is None]
        if arrays:  # a mask: of dropout, of attention
            if name in ("select_n", "mul") and len(moving) == 1:
                own = self.settle(moving[0])
                kept = own.before[0] if own.kind == "scale" and own.weights[0] > 1 else own  # divided by the part that is kept
                return self.value(Node("through", "a mask (dropout): in training it divides <phi^2> by 1 - p", (kept,)))
            return self.unknown(f"the operation {name} with an array that is no parameter", moving)
        if len({id(value.node) for value in moving}) == 1 and all(value.apply is not None for value in moving):
            parts = [value.apply if value.node is not None else value.constant for value in inputs]

            def apply(z: Any) -> Any:
                return evaluated(equation, [part(z) if callable(part) else part for part in parts])

            coarse = any(value.coarse for value in moving) or any(_is_half(variable) for variable in equation.invars)
            inner = tuple(value.key if value.node is not None else float(value.constant) for value in inputs)
            stretch = _stretch(name, inputs) or tuple(dict.fromkeys(c for value in moving for c in value.inner))
            return Value(
                node=moving[0].node, apply=apply, inner=stretch, key=hash((name, str(equation.params), inner, coarse)), coarse=coarse
            )
        if name in ("add", "sub", "add_any") and len(moving) == 2:
            return self.value(summed(((self.settle(moving[0]), 1.0), (self.settle(moving[1]), -1.0 if name == "sub" else 1.0))))
        return self.unknown(f"the operation {name} of two values", moving)

    def by_statistic(self, name: str, moving: Value, statistics: list[Value], inputs: list[Value]) -> Value:
        """A value with statistics of its own: centred, normalised, or a softmax."""
        own = self.settle(moving)
        if not all(value.node is not None and _root(value.node) is _root(own) for value in statistics):
            return self.unknown(f"the operation {name} with a mean", [moving, *statistics])
        if name == "sub":
            return self.value(Node("through", "", (own,)))
        if name in ("mul", "div") and any(value.rooted for value in statistics):
            named = [value.parameter for value in statistics] + [own.label.removeprefix(PRODUCT)] * own.label.startswith(PRODUCT)
            weight = next((one for one in named if one and one[0] != "~"), "")
            return self.value(Node("norm", "a normalisation: it resets the size of signals", (own,), weight=weight))
        if name == "div":
            return self.value(softmax_of(own))
        return self.unknown(f"the operation {name} with a mean", [moving])

    def by_parameter(self, name: str, moving: list[Value], inputs: list[Value]) -> Value:
        """A value with a parameter: a bias, the weight of a normalisation, or unknown."""
        parameter = next(value for value in inputs if value.parameter and value.node is None)
        if len(moving) == 1 and name in ("add", "sub", "add_any"):
            return self.value(Node("through", "", (self.settle(moving[0]),)))
        if len(moving) == 1 and name in ("mul", "div"):
            own = self.settle(moving[0])
            if own.kind == "norm" and not own.weight:
                return self.value(Node("norm", own.label, own.before, weight=parameter.parameter))
            if parameter.rooted:  # the running variance of a batch normalisation
                weight = "" if parameter.parameter[0] == "~" else parameter.parameter
                return self.value(Node("norm", "a batch normalisation: it resets the size of signals", (own,), weight=weight))
        return self.unknown(PRODUCT + parameter.parameter, moving)

    def contracted(self, equation: Any, inputs: list[Value]) -> Value:
        weights = [value for value in inputs if value.node is None]
        moving = [value for value in inputs if value.node is not None]
        if len(weights) == 1 and weights[0].parameter:
            side, name = 0 if inputs[0].node is None else 1, weights[0].parameter
            known = (weights[0].plain or name in self.normed) and name in self.layers
            node = Node("affine" if known else "foreign", self.layers[name] if known else name, (self.settle(moving[0]),))
            self.fan_in[node.label] = _fan_in(equation, side)
            return self.value(node)
        both = [self.settle(value) for value in moving]
        if len(both) == 2 and sum(map(is_softmax, both)) == 1:  # a mean of values over positions
            return self.value(Node("through", "", tuple(one for one in both if not is_softmax(one))))
        return self.unknown(f"the operation {equation.primitive.name} of two values", moving)

    def unknown(self, what: str, inputs: Sequence[Value]) -> Value:
        before = dict.fromkeys(self.settle(value) for value in inputs if value.node is not None)
        return self.value(Node("unknown", what, tuple(before)))

    def settle(self, value: Value) -> Node:
        """The node of a value: its elementwise function by name."""
        if value.node is None:
            return self.value(Node("parameter", value.parameter or "a constant")).node or Node("parameter")
        if id(value) in self.settled:
            return self.settled[id(value)][1]
        node = value.node
        if value.source is not None:
            node = Node("pool", "a mean or sum: it changes the size of signals", (self.settle(value.source),))
        elif value.apply is not None and value.key:
            for kind, label, factor in named(value.apply, value.key, value.inner, 5e-3 if value.coarse else 1e-4):
                self.value(node)
                step = (node, kind, label, f"{factor:.6g}")  # the same of the same is one value, which several may read
                node = self.steps.setdefault(step, Node(kind, label, (node,), (factor,) if kind == "scale" else ()))
        self.value(node)
        self.settled[id(value)] = (value, node)
        return node


def _root(node: Node) -> Node:
    """What a value was before it was centred, bent or scaled, element by element."""
    while node.kind in ("through", "activation", "scale") or node.label == BENT or node.label.startswith(PRODUCT):
        node = node.before[0]
    return node


def _stretch(name: str, inputs: Sequence[Value]) -> tuple[float, ...]:
    """The factor of a value that is only multiplied or divided by a number."""
    if name not in ("mul", "div") or len(inputs) != 2:
        return ()
    constants = [float(value.constant) for value in inputs if value.node is None]
    if len(constants) != 1 or not constants[0] or any(value.node is not None and value.key for value in inputs):
        return ()
    return (constants[0] if name == "mul" else 1 / constants[0],) if name == "mul" or inputs[0].node is not None else ()


def _is_half(variable: Any) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.floating) and variable.aval.dtype.itemsize < 4


def _fan_in(equation: Any, side: int) -> float:
    """How many inputs each output of a contraction sums over: the axes of the parameter that are contracted. Outputs of a transposed
    convolution, whose inputs stand apart, differ in it: the mean."""
    shape = equation.invars[side].aval.shape
    numbers = equation.params["dimension_numbers"]
    if equation.primitive.name == "dot_general":
        return math.prod(shape[axis] for axis in numbers[0][side])
    return math.prod(size for axis, size in enumerate(shape) if axis != numbers.rhs_spec[0]) / math.prod(equation.params["lhs_dilation"])
