"""What each elementwise, shaping and reducing primitive of JAX does to NumPy arrays: its parameters -> a function of arrays.

Semantics are those of `jax.lax`. What is not in the table makes a program one to be compiled.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

Operation = Callable[..., Any]


class Unknown(Exception):
    """A primitive, or a use of it, that only a compiler knows."""


FEW = 8192  # numbers that Python's own functions do before `scipy.special` is imported


def _special(name: str) -> Operation:
    """A function of `scipy.special`, which takes a while to import."""

    def run(x: Any) -> Any:
        from scipy import special

        return getattr(special, name)(x)

    return run


def _of_python(name: str, function: Callable[[float], float]) -> Operation:
    """A function that Python has too, which is as good and for few numbers soon done."""
    each, many = np.frompyfunc(function, 1, 1), _special(name)
    return lambda x: np.asarray(each(x), x.dtype) if x.size <= FEW else many(x)


def _divide(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return x / y
    return np.trunc(x / np.where(y == 0, 1, y)).astype(x.dtype) if x.dtype.kind == "i" else x // np.where(y == 0, 1, y)


def _shift_right_logical(x: Any, y: Any) -> Any:
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    return (x.view(unsigned) >> y.view(unsigned)).view(x.dtype)


# names of which lax and NumPy (or SciPy) say the same; parameters, if any, are about accuracy
PLAIN: dict[str, Operation] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "add": np.add,
    "add_any": np.add,
    "and": np.bitwise_and,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "cbrt": np.cbrt,
    "ceil": np.ceil,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "copy": np.asarray,
    "cos": np.cos,
    "cosh": np.cosh,
    "digamma": _special("digamma"),
    "div": _divide,
    "eq": np.equal,
    "erf": _of_python("erf", math.erf),
    "erf_inv": _special("erfinv"),
    "erfc": _of_python("erfc", math.erfc),
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "floor": np.floor,
    "ge": np.greater_equal,
    "gt": np.greater,
    "is_finite": np.isfinite,
    "le": np.less_equal,
    "lgamma": _special("gammaln"),
    "log": np.log,
    "log1p": np.log1p,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "nextafter": np.nextafter,
    "one_minus_square": lambda x: (1 - x) * (1 + x),
    "not": np.bitwise_not,
    "or": np.bitwise_or,
    "pow": lambda x, y: np.power(x, y, dtype=x.dtype),
    "rem": np.fmod,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "select_n": lambda which, *cases: np.where(which, cases[1], cases[0]) if len(cases) == 2 else np.choose(which, cases),
    "shift_left": np.left_shift,
    "shift_right_arithmetic": np.right_shift,
    "shift_right_logical": _shift_right_logical,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "stop_gradient": np.asarray,
    "sub": np.subtract,
    "tan": np.tan,
    "tanh": np.tanh,
    "xor": np.bitwise_xor,
}


def _integer_pow(y: int) -> Operation:
    def power(x: Any) -> Any:
        if y < 0:
            return 1 / _integer_pow(-y)(x)
        return reduce(np.multiply, [x] * y) if y else np.ones_like(x)

    return power


def _round(rounding_method: Any) -> Operation:
    if int(rounding_method) == 1:  # to even
        return np.rint
    return lambda x: np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5))


def _convert(new_dtype: Any) -> Operation:
    kind = np.dtype(new_dtype)

    def convert(x: Any) -> Any:
        return x.astype(kind)

    return convert


def _bitcast(new_dtype: Any) -> Operation:
    kind = np.dtype(new_dtype)

    def cast(x: Any) -> Any:
        if x.dtype.itemsize != kind.itemsize:
            raise Unknown("bitcast_convert_type to another size")
        return np.ascontiguousarray(x).view(kind).reshape(x.shape)

    return cast


def _broadcast_in_dim(shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Operation:
    places = dict.fromkeys(broadcast_dimensions)

    def broadcast(x: Any) -> Any:
        sizes = iter(np.shape(x))
        wide = [next(sizes) if i in places else 1 for i in range(len(shape))]
        return np.broadcast_to(np.reshape(x, wide), shape)

    return broadcast


def _pad(padding_config: Sequence[tuple[int, int, int]]) -> Operation:
    def pad(x: Any, fill: Any) -> Any:
        spread = [(n + max(n - 1, 0) * inner) for n, (_, _, inner) in zip(x.shape, padding_config, strict=True)]
        sizes = [max(low, 0) + n + max(high, 0) for n, (low, high, _) in zip(spread, padding_config, strict=True)]
        out = np.full(sizes, fill, x.dtype)
        out[tuple(slice(max(low, 0), max(low, 0) + n, i + 1) for n, (low, _, i) in zip(spread, padding_config, strict=True))] = x
        return out[tuple(slice(max(-low, 0), n - max(-high, 0)) for n, (low, high, _) in zip(sizes, padding_config, strict=True))]

    return pad


def _slice(start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None) -> Operation:
    steps = strides or [1] * len(start_indices)
    where = tuple(slice(a, b, s) for a, b, s in zip(start_indices, limit_indices, steps, strict=True))
    return lambda x: x[where]


def _window(shape: Sequence[int], sizes: Sequence[int], starts: Sequence[Any]) -> tuple[slice, ...]:
    """The window of a dynamic slice: moved inside where it would not fit."""
    firsts = [min(max(int(s), 0), n - size) for s, n, size in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(f, f + size) for f, size in zip(firsts, sizes, strict=True))


def _dynamic_slice(slice_sizes: Sequence[int]) -> Operation:
    return lambda x, *starts: x[_window(x.shape, slice_sizes, starts)]


def _dynamic_update_slice(x: Any, new: Any, *starts: Any) -> Any:
    out = np.array(x)
    out[_window(x.shape, new.shape, starts)] = new
    return out


def _iota(dtype: Any, shape: Sequence[int], dimension: int) -> Operation:
    def iota() -> Any:
        wide = [1] * len(shape)
        wide[dimension] = shape[dimension]
        return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(wide), shape)

    return iota


def _dot_general(dimension_numbers: Any, preferred_element_type: Any) -> Operation:
    (left, right), (left_batch, right_batch) = dimension_numbers

    def dot(x: Any, y: Any) -> Any:
        free_x = [i for i in range(x.ndim) if i not in left and i not in left_batch]
        free_y = [i for i in range(y.ndim) if i not in right and i not in right_batch]
        batch = [x.shape[i] for i in left_batch]
        inner = math.prod(x.shape[i] for i in left)
        rows, columns = [x.shape[i] for i in free_x], [y.shape[i] for i in free_y]
        a = x.transpose(*left_batch, *free_x, *left).reshape((*batch, math.prod(rows), inner))
        b = y.transpose(*right_batch, *right, *free_y).reshape((*batch, inner, math.prod(columns)))
        product = np.matmul(a, b).reshape((*batch, *rows, *columns))
        return product if preferred_element_type is None else product.astype(preferred_element_type, copy=False)

    return dot


def _sort(dimension: int, num_keys: int) -> Operation:
    if num_keys != 1:
        raise Unknown("sort by several keys")

    def sort(*arrays: Any) -> Any:
        order = np.argsort(arrays[0], axis=dimension, kind="stable")
        return [np.take_along_axis(a, order, dimension) for a in arrays]

    return sort


def _cumulative(ufunc: np.ufunc) -> Callable[..., Operation]:
    def make(axis: int, reverse: bool) -> Operation:
        turn = -1 if reverse else 1

        def run(x: Any) -> Any:
            ordered = np.flip(x, axis) if turn < 0 else x
            total = ufunc.accumulate(ordered, axis, dtype=x.dtype)
            return np.flip(total, axis) if turn < 0 else total

        return run

    return make


def _reducing(function: Callable[..., Any]) -> Callable[..., Operation]:
    return lambda axes: lambda x: function(x, axis=tuple(axes))


def _sum(axes: Sequence[int]) -> Operation:
    return lambda x: x.sum(tuple(axes), dtype=x.dtype)


def _product(axes: Sequence[int]) -> Operation:
    return lambda x: x.prod(tuple(axes), dtype=x.dtype)


def _arg(function: Callable[..., Any]) -> Callable[..., Operation]:
    return lambda axes, index_dtype: lambda x: function(x, axis=axes[0]).astype(index_dtype)


def _split(sizes: Sequence[int], axis: int) -> Operation:
    return lambda x: np.split(x, np.cumsum(sizes)[:-1], axis)


# name -> (the parameters that matter, their function)
SHAPED: dict[str, tuple[tuple[str, ...], Callable[..., Operation]]] = {
    "argmax": (("axes", "index_dtype"), _arg(np.argmax)),
    "argmin": (("axes", "index_dtype"), _arg(np.argmin)),
    "bitcast_convert_type": (("new_dtype",), _bitcast),
    "broadcast_in_dim": (("shape", "broadcast_dimensions"), _broadcast_in_dim),
    "concatenate": (("dimension",), lambda dimension: lambda *arrays: np.concatenate(arrays, dimension)),
    "convert_element_type": (("new_dtype",), _convert),
    "cummax": (("axis", "reverse"), _cumulative(np.maximum)),
    "cummin": (("axis", "reverse"), _cumulative(np.minimum)),
    "cumprod": (("axis", "reverse"), _cumulative(np.multiply)),
    "cumsum": (("axis", "reverse"), _cumulative(np.add)),
    "dot_general": (("dimension_numbers", "preferred_element_type"), _dot_general),
    "dynamic_slice": (("slice_sizes",), _dynamic_slice),
    "dynamic_update_slice": ((), lambda: _dynamic_update_slice),
    "integer_pow": (("y",), _integer_pow),
    "iota": (("dtype", "shape", "dimension"), _iota),
    "pad": (("padding_config",), _pad),
    "reduce_and": (("axes",), _reducing(np.all)),
    "reduce_max": (("axes",), _reducing(np.max)),
    "reduce_min": (("axes",), _reducing(np.min)),
    "reduce_or": (("axes",), _reducing(np.any)),
    "reduce_prod": (("axes",), _product),
    "reduce_sum": (("axes",), _sum),
    "reshape": (("new_sizes",), lambda new_sizes: lambda x: np.reshape(x, new_sizes)),
    "rev": (("dimensions",), lambda dimensions: lambda x: np.flip(x, tuple(dimensions))),
    "round": (("rounding_method",), _round),
    "slice": (("start_indices", "limit_indices", "strides"), _slice),
    "sort": (("dimension", "num_keys"), _sort),
    "split": (("sizes", "axis"), _split),
    "squeeze": (("dimensions",), lambda dimensions: lambda x: np.squeeze(x, tuple(dimensions))),
    "stack": (("axis",), lambda axis: lambda *arrays: np.stack(arrays, axis)),
    "transpose": (("permutation",), lambda permutation: lambda x: np.transpose(x, permutation)),
}
