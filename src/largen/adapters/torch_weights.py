"""The weight of a PyTorch layer: how many inputs an output sums over, and how it is drawn, by itself or under a weight normalisation.

Weight normalisation computes W = g v/|v|, of a length g and a direction v for every row (`dim`). With v = W as drawn and g = |W| the
layer starts as it would without it.
"""

import math
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
Affine: TypeAlias = "nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d"
PARTS = ("weight", "weight_v", "weight_g", "parametrizations.weight.original0", "parametrizations.weight.original1")


def is_affine(module: nn.Module) -> TypeGuard[Affine]:
    """Whether the module computes b + W x as PyTorch's own layer does."""
    return isinstance(module, AFFINE) and type(module).forward in [kind.forward for kind in AFFINE]


def fan_in(layer: Affine) -> float:
    """How many inputs an output sums over. An output of a transposed convolution sees every stride-th position of its window, not all
    the same number of them: the mean over outputs is what their mean variance depends on."""
    if isinstance(layer, TRANSPOSED):
        taps = math.prod(k / s for k, s in zip(layer.kernel_size, layer.stride, strict=True))
        return layer.in_channels // layer.groups * taps
    return layer.weight[0].numel()


def own_weight(layer: Affine) -> nn.Parameter | None:
    """The parameter that is drawn: W, or v of a weight normalisation; None where W is computed in another way."""
    if "weight" in layer._parameters:
        return layer._parameters["weight"] if _has_no_others(layer) else None
    if _hook(layer) is not None:
        return layer._parameters["weight_v"]
    parts: Any = getattr(getattr(layer, "parametrizations", {}), "weight", ())
    return parts.original1 if [type(part) for part in parts] == [parametrizations._WeightNorm] else None


def draw(layer: Affine, std: float, generator: Any) -> None:
    """W ~ N(0, std^2), in place."""
    weight = own_weight(layer)
    assert weight is not None
    weight.normal_(0.0, std, generator=generator)
    hook = _hook(layer)
    if hook is not None:
        length: Any = layer.weight_g
        length.copy_(torch.norm_except_dim(weight, 2, hook.dim))
        layer.weight = hook.compute_weight(layer)
    elif weight is not layer._parameters.get("weight"):
        layer.weight = weight.clone()  # torch's own inverse sets the length


def _hook(layer: Affine) -> Any:
    """`torch.nn.utils.weight_norm` of the weight, the older form."""
    hooks = layer._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, WeightNorm) and hook.name == "weight"), None)


def _has_no_others(layer: Affine) -> bool:
    return {name for name, _ in layer.named_parameters()} <= {"weight", "bias"}
