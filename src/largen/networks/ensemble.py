"""Many networks of one architecture: any function of one network over a leading axis of networks, in bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.architecture.nodes import Serial, network
from largen.errors import InputError, shown
from largen.networks.work import KNOWN, Work, doing
from largen.types import Params, hand_back


def each(fn: Callable[..., Any], net: Any, params: Params, *args: Any, chunk: int | None = None, **options: Any) -> Any:
    """`fn(net, params, *args, **options)` of every network of an ensemble, the results stacked along a leading axis of networks.

    Compiled once per `fn`, architecture, shapes and chunk. May be jitted, vmapped and differentiated as `fn`.

    A function of your own gets arrays and real numbers as JAX arrays in the dtype of the parameters; all else (whole numbers, words,
    functions) as it is, and is compiled for it. Define it once: every new lambda compiles. Its results are NumPy arrays unless an
    argument after `params` is a JAX array; they are not looked at for NaN. Its memory is not known: the default of `chunk` is 1.

    Parameters
    ----------
    fn : callable
        A function of one network: `lg.apply`, `lg.train`, `lg.empirical_ntk`, any of `lg.measure`, or one of your own that JAX can trace
        and that returns a pytree of arrays.
    net : architecture
        The network.
    params : dict
        As from `lg.init(..., networks=N)`, {path: {"W": (N, fan_in, fan_out), "b": (N, fan_out)}}.
    *args
        Those of `fn`, the same for all networks, a random key too.
    chunk : int, optional
        How many networks are worked on at once (by vmap, one chunk after the other). Default: on a CPU 1, the fastest from width 64 on,
        where one network fills the cores and stays in cache (narrow ones gain from hundreds); elsewhere as many as fit.
    **options
        Those of `fn`, likewise.

    Returns
    -------
    pytree
        What `fn` does, every array with a leading axis of N, those of records too; of `lg.train` (params, `History`) with one `.time`.
        dtypes as of `fn`.

    Raises
    ------
    InputError
        As `fn` does, before anything runs; for parameters of one network; and where one network in `lg.train` diverges.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net, X, y = lg.mlp(widths=[64], out=1), np.eye(3), np.array([1.0, -1.0, 0.5])
    >>> params = lg.init(net, 3, jax.random.key(0), networks=5)
    >>> lg.each(lg.empirical_ntk, net, params, X, full=False).shape
    (5, 3, 3)
    >>> trained, history = lg.each(lg.train, net, params, X, y, eta=0.5, steps=20)
    >>> lg.each(lg.apply, net, trained, X).shape, history.loss.shape
    ((5, 3, 1), (5, 21))
    >>> def size(net, params, X):
    ...     return (lg.measure.preactivations(net, params, X)["dense1"] ** 2).mean()
    >>> lg.each(size, net, params, X).shape
    (5,)
    """
    if not callable(fn):
        raise InputError("fn", shown(fn), "a function of one network, such as lg.apply")
    if _hashed(fn) and fn in KNOWN:
        return exits.finite()(doing(KNOWN[fn], True, chunk))(net, params, *args, **options)
    given, tree = jax.tree_util.tree_flatten((args, options))
    places = tuple(_numbers(value) for value in given)
    rest = tuple(value for value, traced in zip(given, places, strict=True) if not traced)
    for value in (fn, *rest):
        if not _hashed(value):
            raise InputError("fn", f"it or an argument that cannot be hashed, {shown(value)}", "functions, arrays, and what can be hashed")
    arrays = tuple(value if _key(value) else door.plain(value, "args") for value, traced in zip(given, places, strict=True) if traced)
    return doing(_own, True, chunk)(net, params, arrays, {"fn": fn, "tree": tree, "places": places, "rest": rest})


def _numbers(value: Any) -> bool:
    """Whether an argument is traced: arrays of any library, and real numbers."""
    return isinstance(value, float | np.inexact) or (hasattr(value, "__array__") and not isinstance(value, np.generic))


def _hashed(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _own(net: Any, params: Any, arrays: Any, static: Any) -> Work[Any]:
    """What is to be done for a function of the user's own."""
    data = [value for value in arrays if not _key(value)]
    return Work(_call, network(net), params, None, arrays, static=static, finish=lambda found: hand_back(found, data))


def _key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _call(net: Serial, params: Any, *arrays: Any, fn: Any, tree: Any, places: Any, rest: Any) -> Any:
    some, others = iter(arrays), iter(rest)
    args, options = jax.tree_util.tree_unflatten(tree, [next(some if traced else others) for traced in places])
    return fn(net, params, *args, **options)
