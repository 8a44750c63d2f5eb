"""The variance-preserving gain, PyTorch's `calculate_gain` for any activation."""

from collections.abc import Callable
from typing import Any

from largen import door, exits
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.statistics import statistics
from largen.errors import InputError, shown
from largen.gaussian.line import K_MIN


@exits.finite()
def gain(activation: str | Callable[[Any], Any] | Activation, q: float = 1.0) -> float:
    """sqrt(q/<phi^2>_q): multiply the std 1/sqrt(fan_in) of the weights by it and preactivations of variance q keep it.

    In this library's terms C_W = gain^2, C_b = 0. Preserving the variance is not being critical: GELU has gain^2 = 2.352 and a
    critical C_W = 1.983; tanh at its gain is chaotic.

    Parameters
    ----------
    activation : str, callable or Activation
        A name or any elementwise function.
    q : float
        The variance of z ~ N(0, q), in [1e-8, 1000].

    Returns
    -------
    float
        The gain.

    Raises
    ------
    InputError
        For q outside (or where <phi^2> is not resolved), and for the activations that `lg.critical` refuses.

    Examples
    --------
    >>> import largen as lg
    >>> round(lg.gain("relu") ** 2, 6), round(lg.gain("gelu") ** 2, 3)
    (2.0, 2.352)
    """
    known = statistics(as_activation(activation))
    variance = door.real(q, "q", low=0.0, strict=True)
    if not K_MIN <= variance <= known.K_max:
        raise InputError("q", shown(q), f"a variance from {K_MIN:g} to {known.K_max:.4g}, where <phi^2> is resolved")
    return float((variance / known.moments(variance).g) ** 0.5)
