"""The learning-rate tensor: per affine layer, bias rate lambda_b and weight rate lambda_W/fan_in (PDLT 8.6)."""

from typing import Any

from largen import door, exits
from largen.architecture.levels import a_shape, affine
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


@exits.finite()
def rates_of_sgd(net: Any, lr: float, n_in: int | tuple[int, ...] | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The rates of plain SGD with learning rate `lr` on every parameter: lambda_b = lr, lambda_W = lr x fan_in.

    With these rates `time` counts steps (eta = 1), for the loss (1/2) sum over samples and outputs.

    Parameters
    ----------
    net : architecture
        Any network; the fan-in of a convolution is window positions x channels.
    lr : float
        SGD's learning rate, above 0.
    n_in : int or (height, width, channels), optional
        The number of input features, or the shape of one input, which a network does not know.

    Returns
    -------
    tuple (lambda_b, lambda_W)
        Each one per affine layer, those of branches too, branch after branch.

    Raises
    ------
    InputError
        For lr <= 0, a missing `n_in`, and one that does not fit the network.

    References
    ----------
    PDLT 8.6.

    Examples
    --------
    >>> import largen as lg
    >>> lg.rates_of_sgd(lg.mlp(widths=[512], out=10), lr=0.5, n_in=64)
    ((0.5, 0.5), (32.0, 256.0))
    >>> lg.rates_of_sgd(lg.Conv(8, 3) >> lg.Act("relu") >> lg.Flatten() >> lg.Dense(1), lr=1.0, n_in=(5, 4, 2))
    ((1.0, 1.0), (18.0, 160.0))
    """
    rate = door.real(lr, "lr", low=0.0, strict=True)
    if n_in is None:
        need = "the number of input features, or the shape of one input"
        raise InputError("n_in", "nothing", need, "Call lg.rates_of_sgd(net, lr, n_in=X.shape[1:]).")
    whole, shape = network(net), a_shape(n_in)
    try:
        fans = [fan for _, _, fan in affine(whole, shape) if fan is not None]  # none is, where the shape is known
    except InputError as error:  # of a node that the shape does not fit
        raise InputError(
            "n_in", shown(n_in), "the shape of one input of this network", f"{error.got[:1].upper()}{error.got[1:]}."
        ) from error
    return tuple(rate for _ in fans), tuple(rate * fan for fan in fans)
