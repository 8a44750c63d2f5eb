"""What one does to real networks: their preactivations, gradients, metrics, susceptibilities and tensors."""

from largen.networks.gradients import gradient_norms as gradient_norms
from largen.networks.higher import ddntk as ddntk, dntk as dntk
from largen.networks.metric import metric as metric
from largen.networks.outputs import preactivations as preactivations
from largen.networks.perturb import perturbations as perturbations
from largen.networks.tensors import tensors as tensors
