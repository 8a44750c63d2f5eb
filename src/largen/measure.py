"""What one does to real networks: their preactivations, gradients, metrics, susceptibilities and tensors."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.networks.gradients import gradient_norms as gradient_norms
    from largen.networks.higher import ddntk as ddntk, dntk as dntk
    from largen.networks.metric import metric as metric
    from largen.networks.outputs import preactivations as preactivations
    from largen.networks.perturb import perturbations as perturbations
    from largen.networks.tensors import tensors as tensors

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
