"""What of a Flax model has a kernel, how many inputs an output of it sums over, and the lengths of weight normalisations.

A weight normalisation computes W = g v/|v|, of a kernel v and a length g for every output. With v = W as drawn and g = |W| the layer
starts as it would without it.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from largen.errors import InputError

Arrays = dict[str, tuple[Any, Any]]  # layer name -> (kernel, bias or None)
Path = tuple[str, ...]


def arrays_of(module: Any, variables: Any) -> tuple[Arrays, dict[str, str]]:
    """Every kernel with its bias; and what is not set unless it is said, or has no kernel at all, with the reason."""
    flax = flax_of()
    if isinstance(module, flax.nnx.Module) and variables is None:
        return _of_nnx(module, flax)
    if isinstance(module, flax.linen.Module) and isinstance(variables, Mapping) and isinstance(variables.get("params"), Mapping):
        return _of_linen(variables["params"])
    got = f"a {type(module).__name__} with {'nothing' if variables is None else f'a {type(variables).__name__}'}"
    need = 'a linen module with its variables {"params": ...}, or an nnx module alone'
    raise InputError("module, variables", got, need, "variables = module.init(jax.random.key(0), X)")


def _of_linen(params: Any) -> tuple[Arrays, dict[str, str]]:
    parents: dict[tuple[str, ...], dict[str, Any]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        *parent, last = keys_of(path)
        parents.setdefault(tuple(parent), {})[last] = leaf
    arrays, others, known = {}, {}, lengths(params)
    for parent, leaves in parents.items():
        name = "/".join(parent)
        kernel = leaves.get("kernel")
        if kernel is not None and kernel.ndim > 1:
            arrays[name] = (kernel, leaves.get("bias"))
        elif any((*parent, leaf) not in known for leaf in leaves):
            others[name] = f"no kernel ({', '.join(leaves)})"
    return arrays, others


def _of_nnx(module: Any, flax: Any) -> tuple[Arrays, dict[str, str]]:
    nnx = flax.nnx
    arrays, others = {}, {}
    for path, part in nnx.iter_modules(module):
        name = "/".join(map(str, path))
        if type(part) in (nnx.Linear, nnx.Conv, nnx.ConvTranspose):
            arrays[name] = (part.kernel[...], None if part.bias is None else part.bias[...])
        elif any(isinstance(value, nnx.Param) for value in vars(part).values()):
            others[name] = f"{type(part).__name__} is not among nnx.Linear, nnx.Conv and nnx.ConvTranspose"
    return arrays, others


def transposed(module: Any, variables: Any, alone: bool) -> dict[str, float]:
    """The fan_in of transposed convolutions, as far as their modules are seen: outputs differ in it, the mean. Raises for those of linen
    that only the call would show, where the module is `alone`."""
    flax, found, known = flax_of(), {}, arrays_of(module, variables)[0]
    for name, part in _parts(module, variables, flax):
        if isinstance(part, (flax.linen.ConvTranspose, flax.nnx.ConvTranspose)) and name in known:
            *window, a, b = known[name][0].shape
            strides = (part.strides,) * len(window) if isinstance(part.strides, int) else part.strides or ()
            found[name] = (b if part.transpose_kernel else a) * math.prod(window) / math.prod(strides)
    hidden = [name for name in known if name.rpartition("/")[2].startswith("ConvTranspose") and name not in found]
    if hidden and alone:
        got = f"nothing, for the transposed convolution {hidden[0]}, whose strides its parameters do not show"
        raise InputError("example", got, "an input as the model takes it, a tuple for several arguments")
    return found


def _parts(module: Any, variables: Any, flax: Any) -> list[tuple[str, Any]]:
    """(name, module) of what is seen without a call: all of nnx; of linen the module itself, and the parts of a sequence."""
    if variables is None:
        return [("/".join(map(str, path)), part) for path, part in flax.nnx.iter_modules(module)]
    layers = module.layers if type(module) is flax.linen.Sequential else ()
    parts = [("", module), *((getattr(part, "name", None) or f"layers_{i}", part) for i, part in enumerate(layers))]
    norm = flax.linen.WeightNorm
    return parts + [(f"{name}/layer_instance".lstrip("/"), part.layer_instance) for name, part in parts if isinstance(part, norm)]


def normed(module: Any, variables: Any) -> set[str]:
    """The names of kernels under a weight normalisation with lengths of their own."""
    if variables is not None:
        return {"/".join(target) for target in lengths(variables["params"]).values()}
    norms = ((path, part) for path, part in flax_of().nnx.iter_modules(module) if isinstance(part, flax_of().nnx.WeightNorm))
    return {"/".join(map(str, (*path, "layer_instance", *inside))) for path, part in norms for inside in part.scales or ()}


def lengths(params: Any) -> dict[Path, Path]:
    """Of a linen model: the path of every length of a weight normalisation -> that of what it is the length of."""
    paths = {keys_of(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]}
    found = {}
    for path in paths:
        *inside, last = path[-1].split("/")
        if last == "scale" and inside:
            for start in (path[:-1], path[:-2]):  # of a module made inside of the normalisation, and beside it
                target = (*start, *inside)
                if target in paths and paths[path].shape == paths[target].shape[-1:]:
                    found[path] = target
    return found


def length(weight: Any, axes: Any = -1) -> Any:
    """The length of a weight along all but the feature axes."""
    kept = {axis % weight.ndim for axis in ((axes,) if isinstance(axes, int) else axes)}
    others = tuple(axis for axis in range(weight.ndim) if axis not in kept)
    return jnp.sqrt((weight * weight).sum(others)) if others else jnp.abs(weight)


def keys_of(path: Any) -> Path:
    return tuple(str(getattr(part, "key", getattr(part, "name", part))) for part in path)


def flax_of() -> Any:
    try:
        import flax.linen
        import flax.nnx
    except ModuleNotFoundError as error:
        raise ImportError('lg.flax needs Flax: pip install "largen[flax]"') from error
    return flax
