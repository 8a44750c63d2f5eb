"""What of a PyTorch model is set and what is left alone, with the numbers for what has to be set by hand."""

from typing import Any

from torch import nn

from largen.activations.activation import activation as as_activation
from largen.adapters.feeds import roles
from largen.adapters.initialisation import Found, Size, fed_by, foreign_numbers, settled
from largen.adapters.roles import Role, Roles
from largen.adapters.torch_graph import graph_of
from largen.adapters.torch_weights import Affine, fan_in, is_affine, own_weight
from largen.errors import InputError
from largen.parametrizations.table import parameter

HINT = "Give example=, a batch of inputs, and the functional graph of torch.export is read. "
BLOCKS = {nn.TransformerEncoderLayer: 2, nn.TransformerDecoderLayer: 3}  # branches of each


def layers(model: nn.Module, activation: Any, example: Any) -> tuple[list[Found], dict[str, str], dict[str, float]]:
    """Every layer to be set with what feeds it, in the order of `named_modules`; what is left alone, with the reason; and the factors
    of normalisations that end a branch."""
    _check_material(model)
    affine = {name: module for name, module in model.named_modules() if is_affine(module)}
    left = _others(model, affine)
    owners = {id(p): name for name, module in reversed(list(model.named_modules())) for p in module.parameters(recurse=False)}
    for name, module in affine.items():
        weight = own_weight(module)
        owner = name if weight is None else owners[id(weight)].removesuffix("parametrizations.weight").rstrip(".")
        if owner != name:
            left[name] = f"shares its weights with {owner}"
    sizes = [Size(name, fan_in(module), module.bias is not None) for name, module in affine.items() if name not in left]
    graph, failure = graph_of(model, example)
    if graph is None:
        names = tuple(size.name for size in sizes)
        read = Roles({name: Role(None, sources=names, open=failure) for name in names}, {}, {})
        found, more = settled(sizes, read, activation, HINT)
        return found, left | more, {}
    read = roles(*graph)
    found, more = settled(sizes, read, activation)
    advice = {name: _advice(model, name, role) for name, role in read.foreign.items()}
    tied = {
        name: f"{left[name]}; {foreign_numbers(read.layers[name])}" for name in left if name in read.layers and read.layers[name].share != 1
    }
    return found, left | more | advice | tied, {name: value for name, (value, _) in read.scales.items()}


def _check_material(model: nn.Module) -> None:
    lazy = [name for name, p in model.named_parameters() if isinstance(p, nn.parameter.UninitializedParameter)]
    if lazy:
        name = lazy[0].rpartition(".")[0]
        raise InputError("model", f"the lazy layer {name}", "layers that know their fan-in", "Call the model on one batch first.")
    meta = [name for name, p in model.named_parameters() if p.is_meta]
    if meta:
        got = f"parameters on the meta device, which hold no numbers ({meta[0]})"
        raise InputError("model", got, "parameters that can be drawn", 'Call model.to_empty(device="cpu") first.')


def _others(model: nn.Module, affine: dict[str, Affine]) -> dict[str, str]:
    left = {}
    for name, module in model.named_modules():
        if name in affine:
            if own_weight(affine[name]) is None:
                left[name] = "its weight is computed from other parameters, and not by weight normalisation"
        elif isinstance(module, nn.RNNBase):
            left[name] = f"{type(module).__name__} is not read: {_recurrent(module)}"
        elif next(module.parameters(recurse=False), None) is not None and not any(name.startswith(f"{a}.".lstrip(".")) for a in affine):
            left[name] = f"{type(module).__name__} is not among nn.Linear, nn.Conv1d, 2d, 3d and nn.ConvTranspose1d, 2d, 3d"
    return left


def _advice(model: nn.Module, name: str, role: Role) -> str:
    """The numbers for a part that is not read: of the module or the parameter `name`."""
    part = dict(model.named_modules()).get(name)
    if part is None:
        weight = dict(model.named_parameters()).get(name)
        return foreign_numbers(role, weight.shape[-1] if weight is not None and name.endswith("in_proj_weight") else None)
    if isinstance(part, nn.MultiheadAttention):
        stds = f"in_proj_weight to std {_std(fed_by(role.feed), part.embed_dim)}, out_proj.weight to std {_std(role.share, part.embed_dim)}"
        return f"MultiheadAttention is not read: set {stds}, its biases to 0"
    blocks: list[Any] = [block for block in model.modules() if type(block) in BLOCKS]
    B, first = sum(BLOCKS[type(block)] for block in blocks), blocks[0]
    E, F = first.self_attn.embed_dim, first.linear2.in_features
    phi = as_activation({nn.functional.relu: "relu", nn.functional.gelu: "gelu"}.get(first.activation, "relu"))
    stds = f"{_std(1.0, E)} in every in_proj_weight and linear1.weight, {_std(1 / B, E)} in every out_proj.weight"
    last = f"{_std(fed_by(phi) / B, F)} in every linear2.weight"
    return f"{type(part).__name__} is not read: with {B} branches in the model, set std {stds}, {last}, biases to 0"


def _recurrent(module: nn.RNNBase) -> str:
    if not isinstance(module, nn.RNN):
        return "sigmoid gates have no critical point; PyTorch's own start is kept"
    std_ih, std_hh = (_std(fed_by(as_activation(module.nonlinearity)) / 2, n) for n in (module.input_size, module.hidden_size))
    return f"two terms are summed, C_W/2 each: set weight_ih_l0 to std {std_ih}, every weight_hh to std {std_hh}, biases to 0"


def _std(C_W: float, fan_in: int) -> str:
    return f"{parameter(C_W, fan_in).std:.4g}"
