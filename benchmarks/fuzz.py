"""Hostile and harmless values in every argument of every public callable: what comes back has to be a result or a sentence.

Calls are enumerated from signatures, not from a list of names: every public function of `largen`, of `lg.torch`, `lg.flax` and
`lg.equinox`, and every node, times every argument, times values. All other arguments keep a value with which the call is known to work.
A call fails by an exception that largen did not raise on purpose, by NaN or infinity in what it returns without a word, or by taking
over 10 s. Run: `python benchmarks/fuzz.py --calls 10000`.
"""

import argparse
import collections
import dataclasses
import inspect
import itertools
import json
import random
import signal
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import largen as lg
from largen.errors import LargenError

LIMIT = 10.0  # seconds a call may take, its compilation included
OWN_SPACES = ("measure", "exact", "bayes", "analysis")
SPACES = ("torch", "flax", "equinox")  # whose functions take models of other libraries
KEY = jax.random.key(0)
X = np.random.RandomState(0).randn(3, 2)
Y = np.array([1.0, -1.0, 0.5])
NET = lg.mlp(widths=[3], out=1, activation="erf", C_W=1.5, C_b=0.1)
BENT = lg.mlp(widths=[3], out=1, activation="relu", C_W=2.0)
STRAIGHT = lg.mlp(widths=[3], out=1, activation="linear", C_W=1.5)
PARAMS = lg.init(NET, 2, KEY, dtype=np.float64)
MANY = lg.init(NET, 2, KEY, networks=3, dtype=np.float64)
KERNEL = np.array([[1.0, 0.2, 0.1], [0.2, 1.5, 0.3], [0.1, 0.3, 2.0]])
QUARTIC = np.einsum("ab,cd->abcd", KERNEL, KERNEL)


def smooth(z: Any) -> Any:
    """An activation of one's own."""
    return z / jnp.sqrt(1 + z * z)


def square(z: Any) -> Any:
    """An observable of one neuron."""
    return z * z


def each(net: Any, params: Any, X: Any, chunk: Any = None) -> Any:
    """`lg.each` of a function of the library: what one's own raises is its own."""
    return lg.each(lg.apply, net, params, X, chunk=chunk)


# A value for every argument, by its name: the vocabulary of the library. What one callable alone needs is in `OWN`.
KINDS: dict[str, Any] = {
    **{"net": NET, "params": PARAMS, "key": KEY, "n_in": 2, "rates": (0.5, 1.0), "chunk": 1, "dtype": "float64", "full": False},
    **{"X": X, "X1": X, "X2": X + 1, "X_test": X[:1] + 0.5, "X_other": X + 0.5, "y": Y, "y_test": Y, "z": Y, "x1": X[0], "x2": X[1]},
    **{"x_plus": X[0], "x_minus": X[1], "ridge": 0.1, "layer": 1, "order": 0, "time": 1.0, "how": "flow", "draws": 2, "networks": 3},
    **{"activation": "erf", "C_W": 1.5, "C_b": 0.1, "C": None, "input_scale": 1.0, "widths": [3], "out": 1, "width": 4, "blocks": 1},
    **{"channels": [2], "window": 2, "strides": 1, "padding": "SAME", "dilation": 1, "pool": True, "skip": 0.5, "norm": True},
    **{"heads": 2, "mechanism": "relu", "scaling": "1/d", "positions": 1.0, "C_key": 1.0, "C_query": 1.0, "C_value": 1.0, "C_out": 1.0},
    **{"axes": -1, "eps": 1e-6, "rate": 0.1, "branches": (lg.Dense(3), lg.Dense(3)), "weights": (1.0, 0.5), "nodes": NET.nodes},
    **{"block": lg.Dense(3), "times": 2, "adjacency": np.eye(2), "factor": 2, "text": lg.dumps(NET), "format": "toml"},
    **{"K": KERNEL, "V": QUARTIC, "K1": KERNEL, "H": square, "F": square, "n": 5, "neurons": 1, "kinks": (0.0,), "coupling": Y + 3},
    **{
        "k": KERNEL,
        "mu": 0.01 * np.ones((3, 3, 3)),
        "W": X[:, :1],
        "optimum": "span",
        "eta": 0.1,
        "steps": 3,
        "loss": "mse",
        "optimizer": None,
    },
    **{"phi": KERNEL, "psi": 0.01 * np.ones((3, 3, 3)), "theta": KERNEL, "record": None, "given": (X, Y), "vary": ("C_W",), "shared": True},
    **{"max_steps": 3, "depths": [2], "units": (1, 1), "n_train": 3, "n_test": 1, "bias": 1.0, "weight": 1.0, "lr": 0.1, "q": 1.0},
    **{"layers": 3, "n_out": 1, "residual": 0.1, "ratio": 0.1, "tolerance": 0.1, "classes": 3, "shape": (2,), "fn": smooth, "name": None},
    **{"store": None, "progress": False, "cluster": None, "theory": None, "factors": (1, 2, 4), "tensors": ("V",), "depth": 5},
    **{"generator": None, "variables": None, "record_": None},
}

# What a callable needs apart from the rest, by its name.
OWN: dict[str, dict[str, Any]] = {
    "deep_linear": {"net": STRAIGHT, "order": 2},
    "size_moments": {"net": BENT, "X": X[:1], "order": 2},
    "gradient_law": {"net": BENT},
    "generalization": {"y_test": Y[:1]},
    "one_hot": {"y": [0, 2, 1]},
    **{name: {"channels": 2} for name in ("Attention", "Conv", "ConvLocal", "ConvTranspose", "myrtle")},
    "angles": {"activation": "relu", "psi": np.array([0.3, 0.5])},
    **{name: {"K": 1.0, "activation": "relu"} for name in ("asymptotics", "scale_invariant_tensors")},
    "check": {"what": "training", "widths": (1, 2, 4, 8), "networks": 20, "time": None, "tensors": None},
    "figure": {"record": lg.critical("erf")},
    "nearly_kernel": {"eta": None},
    "each": {"params": MANY},
    "predict": {"eta": None, "steps": None, "params": None},
    "running": {"coupling": np.array([1.0, 0.5, 0.3, 0.2, 0.1])},
}


def callables() -> dict[str, Callable[..., Any]]:
    """Every public callable by name: functions and nodes of `largen`, functions of its namespaces, records that check what they hold."""
    found = {}
    modules = (lg, *(getattr(lg, space) for space in OWN_SPACES))
    for name, thing in [(name, getattr(module, name)) for module in modules for name in module.__all__]:
        if isinstance(thing, types.ModuleType):
            continue
        record = inspect.isclass(thing) and not hasattr(thing, "units") and not hasattr(thing, "__post_init__")
        if not record:  # records are what functions return, as they computed it
            found[name] = thing
    for space in SPACES:
        module = getattr(lg, space)
        found |= {f"{space}.{name}": getattr(module, name) for name in module.__all__}
    found["each"] = each
    return found


def models() -> dict[str, dict[str, Any]]:
    """A model, and what goes with it, for every namespace whose library is there."""
    found: dict[str, dict[str, Any]] = {}
    with _if_there():
        import torch

        found["torch"] = {"model": torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)), "activation": None}
    with _if_there():
        import equinox as eqx

        found["equinox"] = {"model": eqx.nn.MLP(2, 1, 3, 1, activation=jnp.tanh, key=KEY), "activation": None}
    with _if_there():
        import flax.linen as nn

        module = nn.Sequential([nn.Dense(3), nn.tanh, nn.Dense(1)])
        found["flax"] = {"module": module, "variables": module.init(KEY, X), "activation": {"layers_0": "inputs", "layers_2": "tanh"}}
    return found


@contextmanager
def _if_there() -> Iterator[None]:
    with suppress(ModuleNotFoundError):
        yield


def bases() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """{name: (callable, arguments with which it works)}. Raises `LookupError` for an argument that nothing here can fill."""
    found, spaces = {}, models()
    for name, function in callables().items():
        space = name.rpartition(".")[0]
        if space and space not in spaces:
            continue
        given = {**KINDS, **spaces.get(space, {}), **OWN.get(name, {})}
        arguments = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            if parameter.name in given:
                arguments[parameter.name] = given[parameter.name]
            elif parameter.default is parameter.empty:
                raise LookupError(
                    f"no value for the argument `{parameter.name}` of lg.{name}: add one to KINDS or OWN of benchmarks/fuzz.py"
                )
            else:
                arguments[parameter.name] = parameter.default
        found[name] = function, arguments
        if hasattr(function, "__post_init__") and not hasattr(function, "units"):  # a record to work with: its methods too
            made = function(**arguments)
            methods = {key: getattr(made, key) for key, part in vars(function).items() if inspect.isfunction(part) and key[0] != "_"}
            for key, method in methods.items():
                found[f"{name}.{key}"] = method, {part: given[part] for part in inspect.signature(method).parameters}
    return found


def invoke(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The call; arguments that a function takes by position alone, however many, are given so."""
    parameters = inspect.signature(function).parameters
    star = next((name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL), None)
    if star is None:
        return function(**arguments)
    several = arguments[star] if isinstance(arguments[star], tuple) else (arguments[star],)
    return function(*several, **{name: value for name, value in arguments.items() if name != star})


# ---------------------------------------------------------------- values


class Loud:
    """An object that cannot be printed, measured or compared."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("no array")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    __hash__ = None  # type: ignore[assignment]


def _circular() -> list[Any]:
    out: list[Any] = [1.0]
    out.append(out)
    return out


def _nested(depth: int) -> list[Any]:
    out: list[Any] = [1.0]
    for _ in range(depth):
        out = [out]
    return out


def _deleted() -> jax.Array:
    out = jnp.arange(3.0)
    out.delete()
    return out


def _text_of(depth: int) -> str:
    node = '{"node": "Identity"}'
    for _ in range(depth):
        node = '{"node": "Sum", "branches": [[' + node + '], [{"node": "Identity"}]], "weights": [1, 1]}'
    return '{"format": "largen-network", "version": 1, "nodes": [' + node + "]}"


# What no argument, or few, can be: makers, so that each call gets an object of its own.
ALIENS: dict[str, Callable[[], Any]] = {
    **{"None": lambda: None, "True": lambda: True, "empty text": lambda: "", "text": lambda: "abc", "NUL": lambda: "\x00"},
    **{"bytes": lambda: b"2", "bytearray": lambda: bytearray(b"12"), "huge int": lambda: 10**400, "unprintable int": lambda: 10**5000},
    **{"-1": lambda: -1, "0": lambda: 0, "2**63": lambda: 2**63, "-0.0": lambda: -0.0, "nan": lambda: float("nan"), "1.5": lambda: 1.5},
    **{"inf": lambda: float("inf"), "-inf": lambda: float("-inf"), "1e308": lambda: 1e308, "1e-320": lambda: 1e-320},
    **{"complex": lambda: 2 + 3j, "complex64": lambda: np.complex64(2 + 3j), "list": lambda: [], "dict": dict, "tuple": tuple, "set": set},
    **{"{'a': 1}": lambda: {"a": 1}, "object": object, "class": lambda: dict, "function": lambda: lambda z: z, "loud": Loud},
    **{"bools": lambda: lambda z: z > 0, "numpy function": lambda: np.tanh, "infinite slope": lambda: lambda z: jnp.sqrt(jnp.abs(z))},
    **{
        "empty array": lambda: np.array([]),
        "names": lambda: np.array(["a", "b", "a"]),
        "objects": lambda: np.array([1, None, "a"], object),
    },
    **{
        "records": lambda: np.zeros(3, [("a", float)]),
        "dates": lambda: np.array(["2020-01-01"], "M8[D]"),
        "0-d text": lambda: np.array("2"),
    },
    **{"masked": lambda: np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), "masked number": lambda: np.ma.masked},
    **{"circular": _circular, "nested": lambda: _nested(3000), "ragged": lambda: [[1.0], [1.0, 2.0]], "labels": lambda: [[1], [0], [1]]},
    **{
        "generator": lambda: (v for v in (1, 2)),
        "endless": lambda: itertools.count(1),
        "range": lambda: range(3),
        "slice": lambda: slice(3),
    },
    **{"key": lambda: jax.random.key(1), "old key": lambda: jax.random.PRNGKey(1), "keys": lambda: jax.random.split(KEY, 3)},
    **{
        "uint32": lambda: np.zeros(7, np.uint32),
        "deleted": _deleted,
        "Decimal": lambda: Decimal("1.5"),
        "Fraction": lambda: Fraction(3, 2),
    },
    **{
        "float16": lambda: np.float16(1),
        "longdouble": lambda: np.longdouble(1),
        "np.True_": lambda: np.True_,
        "np.int64": lambda: np.int64(2),
    },
    **{
        "jnp number": lambda: jnp.asarray(1.5),
        "jnp int": lambda: jnp.asarray(2),
        "long text": lambda: "a" * 10**6,
        "Path": lambda: Path("a"),
    },
    **{"memory": lambda: memoryview(b"123"), "Ellipsis": lambda: ..., "network": lambda: lg.Dense(3) >> lg.Act("erf") >> lg.Dense(1)},
    **{"node class": lambda: lg.Dense, "activation": lambda: lg.activation("tanh"), "other net": lambda: lg.cnn([2]), "module": lambda: np},
    **{"brackets": lambda: "[" * 10**5, "digits": lambda: '{"format": ' + "9" * 5000 + "}", "deep text": lambda: _text_of(400)},
    **{
        "nan text": lambda: "leaky_relu(nan)",
        "power text": lambda: "polynomial(9**9**9)",
        "toml": lambda: "a = ",
        "float8": lambda: "float8_e4m3fn",
    },
    **{
        "structure": lambda: "f8,i4",
        "inf name": lambda: "leaky_relu(1e999)",
        "no node": lambda: '{"format":"largen-network","version":1,"nodes":[]}',
    },
}
COUNTS: dict[str, Callable[[], Any]] = {"1e12": lambda: 10**12, "5e6": lambda: 5_000_000}  # what no memory holds, and what takes long


def _foreign(array: np.ndarray) -> dict[str, Any]:
    """The array in the containers of other libraries, where these are there."""
    found: dict[str, Any] = {}
    with _if_there():
        import torch

        tensor = torch.tensor(array)
        found |= {"torch": tensor, "torch with grad": tensor.clone().requires_grad_(), "torch bfloat16": tensor.bfloat16()}
    with _if_there():
        import pandas as pd

        found["pandas"] = pd.DataFrame(array) if array.ndim == 2 else pd.Series(array) if array.ndim == 1 else array
    with _if_there():
        import polars as pl

        found["polars"] = pl.DataFrame(array) if array.ndim == 2 else pl.Series(array) if array.ndim == 1 else array
    return found


def mild(value: Any, short: bool = False) -> dict[str, Any]:
    """The same value otherwise: in another container, dtype or layout. `short`: only what is computed in the same dtype."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        read_only = value.copy()
        read_only.setflags(write=False)
        swapped = value.astype(value.dtype.newbyteorder(">"))
        layouts = {
            "as it is": value,
            "list": value.tolist(),
            "Fortran": np.asfortranarray(value),
            "strided": np.repeat(value, 2, -1)[..., ::2],
        }
        kinds = {"read-only": read_only, "big-endian": swapped, "longdouble": value.astype(np.longdouble)}
        more = {} if short else {"jax": jnp.asarray(value), "float32": value.astype(np.float32)}
        more["unmasked"] = np.ma.masked_array(value)
        return layouts | kinds | more | {k: v for k, v in _foreign(value).items() if not (short and "bfloat16" in k)}
    if isinstance(value, bool):
        return {"as it is": value, "np.bool_": np.bool_(value), "other": not value}
    if isinstance(value, int):
        return {
            "as it is": value,
            "np.int64": np.int64(value),
            "np.int8": np.int8(value),
            "jnp": jnp.asarray(value),
            "0-d": np.array(value),
        }
    if isinstance(value, float):
        kinds = {"float32": np.float32(value), "0-d": np.array(value), "Fraction": Fraction(value), "jnp": jnp.asarray(value)}
        with _if_there():
            import torch

            kinds["torch"] = torch.tensor(value)
        return {"as it is": value, **kinds}
    if isinstance(value, (list, tuple)) and value:
        return {"as it is": value, "list": list(value), "tuple": tuple(value)}
    if isinstance(value, str):
        return {"as it is": value, "np.str_": np.str_(value)}
    if isinstance(value, dict) and value and all(isinstance(entry, dict) for entry in value.values()):
        same = {"as it is": value, "numpy": jax.tree_util.tree_map(np.asarray, value)}
        with _if_there():
            import torch

            same["torch"] = jax.tree_util.tree_map(lambda a: torch.tensor(np.asarray(a)), value)
        return same
    return {"as it is": value}


def _objects(values: Any) -> np.ndarray:
    out = np.empty(len(values), object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def bent(value: Any) -> dict[str, Any]:
    """The value gone wrong, or to an extreme, in one respect."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim:
        first = (0,) * value.ndim
        nan, infinite, mask = value.copy(), value.copy(), np.zeros(value.shape, bool)
        nan[first], infinite[first], mask[first] = np.nan, np.inf, True
        shapes = {"one": value[0], "none": value[:0], "more axes": value[None], "longer": np.concatenate([value, value]), "row": value[:1]}
        shapes |= (
            {"wider": np.concatenate([value, value], -1), "empty rows": value[..., :0], "turned": value.T, "doubled": value[[0, 0, 1]]}
            if len(value) > 1
            else {}
        )
        sizes = {
            "x 1e160": value * 1e160,
            "x 1e300": value * 1e300,
            "x 1e-200": value * 1e-200,
            "zeros": 0 * value,
            "float16": value.astype("f2") * 1000,
        }
        sizes |= {"float32 x 1e20": (value * 1e20).astype("f4"), "-": -value}
        kinds = {"nan": nan, "infinite": infinite, "masked": np.ma.masked_array(value, mask), "objects": value.astype(object)}
        kinds |= {
            "complex": value + 1j,
            "integers": np.rint(value).astype(int),
            "text": value.astype(str),
            "bool": value > 0,
            "traced": Traced(value),
        }
        with _if_there():
            import torch

            kinds |= {"torch integers": torch.tensor(np.rint(value).astype(int)), "torch sparse": torch.tensor(value).to_sparse()}
        with _if_there():
            import pandas as pd

            table = {"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]}
            kinds |= {"frame with names": pd.DataFrame(table), "frame with gaps": pd.DataFrame({"a": pd.array([1, None, 2], "Int64")})}
        return shapes | sizes | kinds
    if isinstance(value, bool):
        return {"traced": Traced(np.asarray(value))}
    if isinstance(value, (int, float)):
        return {
            "-": -value,
            "2 x": 2 * value,
            "+ 1": value + 1,
            "/ 3": value / 3,
            "array": np.array([value]),
            "traced": Traced(np.asarray(value)),
        }
    if isinstance(value, (list, tuple)) and value:
        shorter, doubled = value[:-1], value + value
        return {"shorter": shorter, "doubled": doubled, "of None": [None] * len(value), "nested": [value], "array": _objects(value)}
    if isinstance(value, str):
        return {"upper": value.upper(), "blank": value + " ", "list": [value], "cut": value[: len(value) // 2]}
    if isinstance(value, dict) and value and all(isinstance(entry, dict) for entry in value.values()):
        first = next(iter(value))
        broken = {"lists": jax.tree_util.tree_map(lambda a: np.asarray(a).tolist(), value), "one path": {first: value[first]}}
        broken |= {
            "nan": jax.tree_util.tree_map(lambda a: np.asarray(a) * np.nan, value),
            "ints": jax.tree_util.tree_map(lambda a: np.asarray(a, int), value),
        }
        broken |= {
            "shapes": jax.tree_util.tree_map(lambda a: np.asarray(a).T[..., None], value),
            "entries": dict.fromkeys(value, 3),
            "keys": {1: value[first]},
        }
        return broken | {
            "x 1e300": jax.tree_util.tree_map(lambda a: np.asarray(a, float) * 1e300, value),
            "one dtype": {**value, first: jax.tree_util.tree_map(lambda a: np.asarray(a, np.float32), value[first])},
        }
    if hasattr(value, "units"):  # a network
        wide = {
            "residual": lg.resnet_mlp(3, 1),
            "images": lg.cnn([2], pool=True),
            "normalised": lg.Dense(3) >> lg.LayerNorm() >> lg.Act("erf") >> lg.Dense(1),
        }
        wide |= {
            "kinked": BENT,
            "steps": lg.mlp([3], activation="sign"),
            "one layer": lg.Dense(1),
            "no layer": lg.Identity(),
            "activation last": value >> lg.Act("erf"),
        }
        wide |= {
            "C_W 1e200": lg.mlp([3], activation="erf", C_W=1e200),
            "C_W 0": lg.mlp([3], activation="erf", C_W=0.0),
            "two outputs": lg.mlp([3], out=2),
        }
        leaves = {"nan": jax.tree_util.tree_map(lambda a: np.nan, value), "text": jax.tree_util.tree_map(lambda a: "a", value)}
        return (
            wide
            | leaves
            | {
                "jnp": jax.tree_util.tree_map(jnp.asarray, value),
                "arrays": jax.tree_util.tree_map(lambda a: np.ones(2), value),
                "traced": Traced(value),
            }
        )
    return {}


@dataclass(frozen=True)
class Traced:
    """A value that the call gets as JAX traces it."""

    value: Any


# ---------------------------------------------------------------- calls


@dataclass(frozen=True)
class Call:
    """One call: which callable, and what one of its arguments is instead."""

    name: str
    argument: str
    kind: str  # "mild", "bent" or "alien"
    label: str
    value: Callable[[], Any]

    def __str__(self) -> str:
        return f"{self.name}({self.argument}= {self.kind} {self.label})"


SHARES = {"mild": 0.45, "bent": 0.2, "alien": 0.35}
COSTLY = ("check", "width", "metric_chain")  # compile for seconds: short runs give them aliens only


def pile(base: Mapping[str, tuple[Any, dict[str, Any]]], name: str, argument: str, rng: random.Random, short: bool) -> Iterator[Call]:
    """Calls of one callable that differ in one argument, without end, in random order and by their shares."""
    value = base[name][1][argument]
    found = {
        "alien": [Call(name, argument, "alien", label, maker) for label, maker in {**ALIENS, **COUNTS}.items()],
        "bent": [Call(name, argument, "bent", label, lambda v=v: v) for label, v in bent(value).items()],
        "mild": [Call(name, argument, "mild", label, lambda v=v: v) for label, v in mild(value, short).items()],
    }
    left: dict[str, list[Call]] = {kind: [] for kind in found}
    kinds = [kind for kind in found if found[kind] and not (short and name in COSTLY and kind != "alien")]
    while True:
        (kind,) = rng.choices(kinds, [SHARES[k] for k in kinds])
        if not left[kind]:
            left[kind] = rng.sample(found[kind], len(found[kind]))
        yield left[kind].pop()


def drawn(base: Mapping[str, tuple[Any, dict[str, Any]]], calls: int, seed: int = 0, short: bool = False) -> list[Call]:
    """So many calls, the same for the same seed: round after round one of every argument of every callable. `short` leaves out what
    compiles anew or for long."""
    rng = random.Random(seed)
    piles = [pile(base, name, argument, rng, short) for name, (_, arguments) in base.items() for argument in arguments]
    rng.shuffle(piles)
    return list(itertools.islice((next(one) for one in itertools.cycle(piles)), calls))


@dataclass(frozen=True)
class Outcome:
    """What became of a call: "accepted", "refused" (a sentence), "foreign" (another exception), "silent" (NaN or infinity), "slow"."""

    call: Call
    verdict: str
    told: str
    seconds: float


def run(call: Call, base: Mapping[str, tuple[Any, dict[str, Any]]]) -> Outcome:
    """Make one call and judge what it did."""
    function, arguments = base[call.name]
    value = call.value()
    began, worked, told = time.perf_counter(), time.process_time(), ""
    with warnings.catch_warnings(record=True) as said, _alarm(12 * LIMIT):
        warnings.simplefilter("always")
        try:
            if isinstance(value, Traced):
                result = _traced(function, arguments, call.argument, value.value)
            else:
                result = invoke(function, {**arguments, call.argument: value})
            verdict = "accepted"
        except LargenError as error:
            verdict, told = "refused", str(error)
        except TimeoutError as error:
            verdict, told = "slow", str(error)
        except Exception as error:
            verdict, told = "foreign", f"{type(error).__name__}: {error}"[:300]
    seconds = min(time.perf_counter() - began, time.process_time() - worked)  # what other processes take is not the call's
    if verdict == "accepted" and not said and (where := strange(result, known(function))):
        verdict, told = "silent", f"not finite: {where}"
    if verdict == "refused" and len(told) > 900:
        verdict, told = "foreign", f"a message of {len(told)} characters"
    if seconds > LIMIT:
        verdict = "slow"
    return Outcome(call, verdict, told, seconds)


def _traced(function: Callable[..., Any], arguments: Mapping[str, Any], argument: str, value: Any) -> None:
    def inside(traced: Any) -> None:
        invoke(function, {**arguments, argument: traced})

    jax.eval_shape(inside, value)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Interrupt what runs longer (in the main thread, where the system has such a signal)."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_: Any) -> None:
        raise TimeoutError(f"over {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def known(function: Callable[..., Any]) -> frozenset[str]:
    """Fields of what a function returns that are infinite or NaN by their documentation: no such scale, beyond the range of floats."""
    return frozenset(itertools.chain(*getattr(function, "not_finite", ())))


def strange(value: Any, announced: frozenset[str] = frozenset(), place: str = "result") -> str:
    """Where a result holds NaN or infinity that no documentation announces; empty if nowhere."""
    if place.count(".") > 12:
        return ""
    if isinstance(value, (float, np.floating)) or (
        isinstance(value, (np.ndarray, jax.Array)) and jnp.issubdtype(value.dtype, jnp.floating)
    ):
        return "" if bool(np.isfinite(np.asarray(value)).all()) else place
    parts: list[tuple[str, Any]] = []
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in announced]
    elif isinstance(value, dict):
        parts = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(str(i), v) for i, v in enumerate(value)]
    return next((found for name, part in parts if (found := strange(part, announced, f"{place}.{name}"))), "")


def main() -> int:
    """Run, print what failed, and say the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="as the tests: no accepted calls of what compiles for seconds")
    parser.add_argument("--only", default="", help="callables, separated by commas")
    parser.add_argument("--out", type=Path, help="a JSON file of the failures")
    options = parser.parse_args()
    jax.config.update("jax_disable_most_optimizations", True)
    base = {name: pair for name, pair in bases().items() if not options.only or name in options.only.split(",")}
    began, failures, counts = time.perf_counter(), [], collections.Counter()
    for i, call in enumerate(drawn(base, options.calls, options.seed, options.short), 1):
        outcome = run(call, base)
        counts[outcome.verdict] += 1
        if outcome.verdict not in ("accepted", "refused"):
            failures.append({"call": str(call), "verdict": outcome.verdict, "told": outcome.told, "seconds": round(outcome.seconds, 2)})
            print(f"{outcome.verdict}: {call}: {outcome.told} ({outcome.seconds:.1f} s)", flush=True)
        if i % 200 == 0:
            jax.clear_caches() if i % 2000 == 0 else None
            print(f"... {i} calls in {time.perf_counter() - began:.0f} s: {dict(counts)}", flush=True)
    print(f"{sum(counts.values())} calls in {time.perf_counter() - began:.0f} s: {dict(counts)}")
    if options.out:
        options.out.write_text(json.dumps(failures, indent=1), encoding="utf-8")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
