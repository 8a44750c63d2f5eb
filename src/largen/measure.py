"""What one does to real networks: their preactivations, gradients, metrics, susceptibilities and tensors."""

from largen.networks.ensemble import preactivations_ensemble as preactivations_ensemble
from largen.networks.gradients import gradient_norms as gradient_norms, gradient_norms_ensemble as gradient_norms_ensemble
from largen.networks.higher import ddntk as ddntk, dntk as dntk
from largen.networks.metric import metric as metric
from largen.networks.outputs import preactivations as preactivations
from largen.networks.perturb import perturbations as perturbations
from largen.networks.tensors import tensors as tensors
