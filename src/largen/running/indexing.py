"""Gathers and scatters of JAX on NumPy arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from largen.running.primitives import Operation


def _places(
    shape: Sequence[int],
    sizes: Sequence[int],
    indices: Any,
    columns: Sequence[int],
    batching: Sequence[int],
    along: Sequence[int],
    window: Any,
) -> tuple[list[Any], list[Any]]:
    """Where windows start along every dimension of an array, and the offsets inside them, arrays that broadcast over (batch axes of
    the indices, axes of the `window`)."""
    lead, tail = indices.ndim - 1, len(window)
    starts: list[Any] = []
    offsets: list[Any] = []
    for d in range(len(shape)):
        start = np.zeros((1,) * lead, np.int64)
        if d in columns:
            start = indices[..., list(columns).index(d)].astype(np.int64)
        elif d in batching:
            axis = along[list(batching).index(d)]
            start = np.arange(shape[d]).reshape([-1 if i == axis else 1 for i in range(lead)])
        starts.append(start.reshape((*start.shape, *(1,) * tail)))
        offset = np.arange(sizes[d] if d in window else 1)
        offsets.append(offset.reshape([1] * lead + [-1 if d == w else 1 for w in window]))
    return starts, offsets


def _inside(shape: Sequence[int], sizes: Sequence[int], starts: list[Any]) -> Any:
    inside = np.array(True)
    for start, n, size in zip(starts, shape, sizes, strict=True):
        inside = inside & (start >= 0) & (start <= n - size)
    return inside


def _clipped(shape: Sequence[int], sizes: Sequence[int], starts: list[Any]) -> list[Any]:
    return [np.clip(start, 0, n - size) for start, n, size in zip(starts, shape, sizes, strict=True)]


def _ordered(ndim: int, window: Sequence[int]) -> list[int]:
    """The axes of an array with the window's axes at places `window`, as (batch axes, window axes)."""
    return [i for i in range(ndim) if i not in window] + list(window)


def gather(dimension_numbers: Any, slice_sizes: Sequence[int], mode: Any, fill_value: Any) -> Operation:
    """Windows of an array at many places."""
    at, fills = dimension_numbers, "FILL" in str(mode).upper()

    def run(x: Any, indices: Any) -> Any:
        hidden = (*at.collapsed_slice_dims, *at.operand_batching_dims)
        window = [d for d in range(x.ndim) if d not in hidden]
        starts, offsets = _places(
            x.shape, slice_sizes, indices, at.start_index_map, at.operand_batching_dims, at.start_indices_batching_dims, window
        )
        places = _clipped(x.shape, slice_sizes, starts)
        found = x[tuple(p + o for p, o in zip(places, offsets, strict=True))]
        found = np.broadcast_to(found, (*indices.shape[:-1], *(slice_sizes[d] for d in window)))
        if fills:
            other = fill_value if fill_value is not None else np.nan if x.dtype.kind == "f" else _outside(x.dtype)
            found = np.where(_inside(x.shape, slice_sizes, starts), found, np.asarray(other).astype(x.dtype))
        return np.transpose(found, np.argsort(_ordered(found.ndim, at.offset_dims)))

    return run


def _outside(dtype: np.dtype) -> Any:
    """What JAX fills integers with."""
    return True if dtype.kind == "b" else np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


def scatter(add: bool) -> Any:
    """Windows of an array replaced at many places, or added to."""

    def make(dimension_numbers: Any, mode: Any) -> Operation:
        at, clips = dimension_numbers, "CLIP" in str(mode).upper()

        def run(x: Any, indices: Any, updates: Any) -> Any:
            hidden = (*at.inserted_window_dims, *at.operand_batching_dims)
            window = [d for d in range(x.ndim) if d not in hidden]
            new = np.transpose(updates, _ordered(updates.ndim, at.update_window_dims))
            lead = indices.ndim - 1
            sizes = [1] * x.ndim
            for i, d in enumerate(window):
                sizes[d] = new.shape[lead + i]
            columns, along = at.scatter_dims_to_operand_dims, at.scatter_indices_batching_dims
            starts, offsets = _places(x.shape, sizes, indices, columns, at.operand_batching_dims, along, window)
            inside = np.broadcast_to(True if clips else _inside(x.shape, sizes, starts), new.shape)
            places = [np.broadcast_to(p + o, new.shape)[inside] for p, o in zip(_clipped(x.shape, sizes, starts), offsets, strict=True)]
            out = np.array(x)
            if add:
                np.add.at(out, tuple(places), new[inside])
            else:
                out[tuple(places)] = new[inside]
            return out

        return run

    return make


INDEXED: dict[str, tuple[tuple[str, ...], Any]] = {
    "gather": (("dimension_numbers", "slice_sizes", "mode", "fill_value"), gather),
    "scatter": (("dimension_numbers", "mode"), scatter(add=False)),
    "scatter-add": (("dimension_numbers", "mode"), scatter(add=True)),
}
