"""The learning-rate tensor: per affine layer, bias rate lambda_b and weight rate lambda_W/fan_in (PDLT 8.6)."""

from typing import Any

from largen import door
from largen.architecture.levels import affine
from largen.architecture.nodes import network
from largen.errors import InputError, shown


def resolve(net: Any, rates: Any = "ntk") -> dict[str, tuple[Any, Any]]:
    """{path: (lambda_b, lambda_W)} of every affine layer, in order; those of branches too, branch after branch.

    `rates="ntk"` means lambda_b = C_b and lambda_W = C_W of each layer; else a pair (lambda_b, lambda_W), each a number
    >= 0 or one per affine layer. Raises `InputError` otherwise.
    """
    layers = [(path, node) for path, node, _ in affine(network(net))]
    if isinstance(rates, str):
        door.choice(rates, "rates", ("ntk",))
        return {path: (node.C_b, node.C_W) for path, node in layers}
    if not isinstance(rates, (tuple, list)) or len(rates) != 2:
        need = 'rates="ntk" or a pair (lambda_b, lambda_W), each a number or one per affine layer'
        raise InputError("rates", shown(rates), need)
    biases = door.per_layer(rates[0], len(layers), "rates[0] (lambda_b)")
    weights = door.per_layer(rates[1], len(layers), "rates[1] (lambda_W)")
    return {path: (b, w) for (path, _), b, w in zip(layers, biases, weights, strict=True)}


def rates_of_sgd(net: Any, lr: float, n_in: int | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The rates of plain SGD with learning rate `lr` on every parameter: lambda_b = lr, lambda_W = lr x fan_in (PDLT 8.6).

    With these rates `time` counts steps (eta = 1), for the loss (1/2) sum over samples and outputs. `n_in` is the number
    of input features, the first layer's fan-in, which a network does not know. Returns (lambda_b, lambda_W), each one
    per affine layer. Raises `InputError` for lr <= 0 and a missing `n_in`.

    >>> import largen as lg
    >>> lg.rates_of_sgd(lg.mlp(widths=[512], out=10), lr=0.5, n_in=64)
    ((0.5, 0.5), (32.0, 256.0))
    """
    rate = door.real(lr, "lr", low=0.0, strict=True)
    if n_in is None:
        raise InputError("n_in", "nothing", "the number of input features", "Call lg.rates_of_sgd(net, lr, n_in=X.shape[1]).")
    fan_in = [fan for _, _, fan in affine(network(net), door.count(n_in, "n_in")) if fan is not None]
    return tuple(rate for _ in fan_in), tuple(rate * n for n in fan_in)
