"""PyTorch models: the critical initialisation, in place."""

from typing import Any

from largen.adapters.initialisation import Initialisation, planned, stds
from largen.errors import InputError, shown


def init_(model: Any, activation: Any = None, example: Any = None, input_scale: float = 1.0, generator: Any = None) -> Initialisation:
    """Set every linear and convolutional layer of a PyTorch model at the critical point of the activation that feeds it, in place.

    W ~ N(0, C_W/fan_in), b ~ N(0, C_b), with (C_W, C_b) of `lg.critical(activation)`. Signals then neither explode nor vanish with depth;
    `lg.how_deep` says how deep at which width.

    - fan_in of a convolution is channels x window (its padded border gets less), of a transposed one channels x window/stride, the mean
      over its outputs.
    - A layer that the inputs feed gets C_W = (K* - C_b)/input_scale if K* > 0 (GELU, SiLU), so that K^(1) = K*.
    - Of B branches that are summed into one stream (residual connections; two in a transformer block) the last layer of each gets C_W/B
      and C_b/B, or a normalisation that ends it the weight 1/sqrt(B): sizes and gradients grow by a bounded factor over any depth. A
      projected or strided skip starts a new stream; beside a skip of weight g < 1 the share is 1 - g^2.

    Set are `nn.Linear`, `nn.Conv1d`, `nn.ConvTranspose1d` and those of two and three dimensions, under `weight_norm` of either form too
    (the direction is drawn as W, the lengths such that W is as drawn); everything else with parameters is left alone and listed, with
    the numbers to set where they are known. Reshapes are looked through silently, dropout, pooling and normalisation with a note.

    Parameters
    ----------
    model : torch.nn.Module
        The model, changed in place.
    activation : str, Activation or dict, optional
        What cannot be seen so. A name or `lg.activation(...)`: feeds every layer of which the graph shows nothing.
        {layer name: activation, or "inputs"}: these layers, whatever the graph shows.
    example : tensor or tuple, optional
        A batch of inputs, or a tuple of the arguments of `forward`: the functional graph of `torch.export` is read, in which operations in
        place are undone. Without it `forward` is traced by torch.fx, or the modules of an `nn.Sequential` are taken in order.
    input_scale : float
        |x|^2/n_0 of the inputs, 1 for `lg.standardize`d ones.
    generator : torch.Generator, optional
        What the parameters are drawn from; None is torch's own (`torch.manual_seed`).

    Returns
    -------
    Initialisation
        Prints as a table; a row is an `InitialisedLayer`.

    Raises
    ------
    InputError
        For layers whose activation is not known, values changed in place and read again (without `example`), no biases where C_b > 0,
        unknown names, lazy layers, parameters on the meta device. Nothing is written then.
    UnsupportedError
        For an activation without critical point. Nothing is written then.

    References
    ----------
    PDLT 5.1-5.3.

    Examples
    --------
    >>> import largen as lg
    >>> import torch  # doctest: +SKIP
    >>> model = torch.nn.Sequential(torch.nn.Linear(784, 512), torch.nn.Tanh(), torch.nn.Linear(512, 10))  # doctest: +SKIP
    >>> print(lg.torch.init_(model))  # doctest: +SKIP
    layer  fed by  fan_in  C_W  C_b  std
    0      inputs  784     1    0    0.03571
    2      tanh    512     1    0    0.04419
    """
    torch = _torch()
    from largen.adapters import torch_layers, torch_weights

    if not isinstance(model, torch.nn.Module):
        raise InputError("model", f"a {type(model).__name__}", "a torch.nn.Module")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputError("generator", shown(generator), "a torch.Generator", "Call torch.Generator().manual_seed(0).")
    found, left, scales = torch_layers.layers(model, activation, example)
    table = planned(found, left, input_scale, "model", scales)
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    with torch.no_grad():
        for name, value in scales.items():
            parameters[name].fill_(value)
        for layer in table.layers:
            module = modules[layer.name]
            weight, bias = stds(layer)
            torch_weights.draw(module, weight, generator)
            if module.bias is not None:
                module.bias.normal_(0.0, bias, generator=generator)
    return table


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError('lg.torch needs PyTorch: pip install "largen[torch]"') from error
    return torch
