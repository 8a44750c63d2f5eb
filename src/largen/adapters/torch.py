"""PyTorch models: the critical initialisation, in place."""

from typing import Any

from largen.adapters.initialisation import Initialisation as Initialisation, Layer as Layer, planned
from largen.errors import InputError


def init_(model: Any, activation: Any = None, input_scale: float = 1.0, generator: Any = None) -> Initialisation:
    """Set every linear and convolutional layer of a PyTorch model at the critical point of the activation that feeds it, in place.

    W ~ N(0, C_W/fan_in), b ~ N(0, C_b), with (C_W, C_b) of `lg.critical(activation)`; fan_in of a convolution is channels x
    window (its padded border gets less). A layer that the inputs feed gets C_W = (K* - C_b)/input_scale if K* > 0 (GELU, SiLU), so
    that K^(1) = K*. Signals then neither explode nor vanish with depth; `lg.how_deep` says how deep at which width.

    Parameters: `activation`, what cannot be seen. None: `forward` is traced (torch.fx), or the modules of an `nn.Sequential` are
    taken in order. A name or `lg.activation(...)`: feeds every layer of which tracing shows nothing; if there is no trace, every
    layer but the first of `model.named_modules()`, which the inputs feed. {layer name: activation, or "inputs"}: these layers,
    whatever tracing shows. `input_scale`, |x|^2/n_0 (1 for `lg.standardize`d inputs). `generator`, a `torch.Generator`; None is
    torch's own (`torch.manual_seed`).

    Set are `nn.Linear`, `nn.Conv1d`, `nn.Conv2d`, `nn.Conv3d`; everything else with parameters is left alone and listed. Reshapes are
    looked through silently, dropout, pooling and normalisation with a note. A sum of branches (residual connection) is not: its
    critical point is not that of an activation, and the layers after it must be said.

    Returns `Initialisation`, which prints as a table. Raises `InputError` for layers whose activation is not known, no biases where
    C_b > 0, unknown names, lazy layers; `UnsupportedError` for an activation without critical point. Nothing is written then.

    Source: PDLT 5.1-5.3.

    >>> import largen as lg
    >>> import torch  # doctest: +SKIP
    >>> model = torch.nn.Sequential(torch.nn.Linear(784, 512), torch.nn.Tanh(), torch.nn.Linear(512, 10))  # doctest: +SKIP
    >>> print(lg.torch.init_(model))  # doctest: +SKIP
    layer  fed by  fan_in  C_W  C_b  std
    0      inputs  784     1    0    0.03571
    2      tanh    512     1    0    0.04419
    """
    torch = _torch()
    from largen.adapters import torch_graph

    if not isinstance(model, torch.nn.Module):
        raise InputError("model", f"a {type(model).__name__}", "a torch.nn.Module")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputError("generator", repr(generator), "a torch.Generator", "Call torch.Generator().manual_seed(0).")
    found, left = torch_graph.layers(model, activation)
    table = planned(found, left, input_scale)
    modules = dict(model.named_modules())
    with torch.no_grad():
        for layer in table.layers:
            module = modules[layer.name]
            module.weight.normal_(0.0, layer.std, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0.0, layer.C_b**0.5, generator=generator)
    return table


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError('lg.torch needs PyTorch: pip install "largen[torch]"') from error
    return torch
