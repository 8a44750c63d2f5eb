"""largen: the theory of wide neural networks as software.

An architecture is a value; a theory is a function of that value; a claim comes with its measurement.
"""

from largen.activations.activation import Activation as Activation, activation as activation
from largen.activations.critical import Critical as Critical, CriticalPoint as CriticalPoint, Growth as Growth, critical as critical
from largen.activations.gain import gain as gain
from largen.adapters import equinox as equinox, flax as flax, torch as torch
from largen.agreement.check import Check as Check, check as check
from largen.agreement.claims import Claim as Claim
from largen.agreement.corrections import (
    CorrectionsCheck as CorrectionsCheck,
    Extrapolated as Extrapolated,
    check_corrections as check_corrections,
)
from largen.agreement.signals import SignalCheck as SignalCheck, check_signal as check_signal
from largen.architecture.attention import Attention as Attention, PositionalEmbedding as PositionalEmbedding
from largen.architecture.branches import (
    Concat as Concat,
    Dropout as Dropout,
    Identity as Identity,
    LayerNorm as LayerNorm,
    Product as Product,
    Repeat as Repeat,
    RMSNorm as RMSNorm,
    Sum as Sum,
)
from largen.architecture.chain import chain as chain
from largen.architecture.image_presets import cnn as cnn, myrtle as myrtle, resnet as resnet
from largen.architecture.nodes import Act as Act, Dense as Dense, Serial as Serial
from largen.architecture.presets import mlp as mlp, resnet_mlp as resnet_mlp, transformer as transformer, widen as widen
from largen.architecture.spatial import (
    Aggregate as Aggregate,
    AvgPool as AvgPool,
    Conv as Conv,
    ConvLocal as ConvLocal,
    ConvTranspose as ConvTranspose,
    Flatten as Flatten,
    GlobalAvgPool as GlobalAvgPool,
    MaxPool as MaxPool,
    SumPool as SumPool,
)
from largen.architecture.text import dumps as dumps, loads as loads
from largen.data import one_hot as one_hot, standardize as standardize
from largen.grams.gram import gram as gram
from largen.networks.empirical import empirical_ntk as empirical_ntk
from largen.networks.ensemble import (
    apply_ensemble as apply_ensemble,
    empirical_ntk_ensemble as empirical_ntk_ensemble,
    init_ensemble as init_ensemble,
    preactivations_ensemble as preactivations_ensemble,
    train_ensemble as train_ensemble,
)
from largen.networks.gradients import gradient_norms as gradient_norms, gradient_norms_ensemble as gradient_norms_ensemble
from largen.networks.higher import SecondTangents as SecondTangents, empirical_ddntk as empirical_ddntk, empirical_dntk as empirical_dntk
from largen.networks.metric import Metric as Metric, metric_ensemble as metric_ensemble
from largen.networks.outputs import apply as apply, preactivations as preactivations
from largen.networks.parameters import init as init
from largen.networks.patterns import Tensors as Tensors
from largen.networks.perturb import Perturbations as Perturbations, perturbations_ensemble as perturbations_ensemble
from largen.networks.tensors import tensor_ensemble as tensor_ensemble
from largen.networks.training import History as History, train as train
from largen.prediction.nearly_kernel import (
    NearlyKernel as NearlyKernel,
    QuadraticModel as QuadraticModel,
    nearly_kernel as nearly_kernel,
)
from largen.prediction.posterior.evidence import Evidence as Evidence, evidence as evidence, evidence_parts as evidence_parts
from largen.prediction.posterior.fit import Fit as Fit, fit as fit
from largen.prediction.posterior.representation import (
    RepresentationUpdate as RepresentationUpdate,
    conditional_variance as conditional_variance,
    representation_update as representation_update,
)
from largen.prediction.posterior.scan import EvidenceScan as EvidenceScan, evidence_scan as evidence_scan
from largen.prediction.predict import Prediction as Prediction, predict as predict
from largen.prediction.sample import sample as sample
from largen.prediction.spectrum import max_learning_rate as max_learning_rate
from largen.questions.aspect import (
    AspectRatio as AspectRatio,
    optimal_aspect_ratio as optimal_aspect_ratio,
    optimal_residual as optimal_residual,
)
from largen.questions.asymptotics import (
    Asymptotics as Asymptotics,
    ScaleInvariantTensors as ScaleInvariantTensors,
    asymptotics as asymptotics,
    scale_invariant_tensors as scale_invariant_tensors,
)
from largen.questions.complexity import Complexity as Complexity, complexity as complexity
from largen.questions.contributions import Contributions as Contributions, contributions as contributions
from largen.questions.depth import Depth as Depth, how_deep as how_deep
from largen.questions.explain import Explanation as Explanation, explain as explain
from largen.questions.generalization import (
    Generalization as Generalization,
    Robustness as Robustness,
    generalization as generalization,
    robustness as robustness,
)
from largen.questions.information import Amounts as Amounts, Information as Information, information as information
from largen.questions.rates import RatePlan as RatePlan, plan_rates as plan_rates
from largen.questions.width import Width as Width, width as width
from largen.report.figure import figure as figure
from largen.scaling.rates import rates_of_sgd as rates_of_sgd
from largen.theory.corrections.corrections import Corrections as Corrections, corrections as corrections
from largen.theory.exact.couplings import (
    Couplings as Couplings,
    Running as Running,
    couplings as couplings,
    neuron_covariance as neuron_covariance,
    running as running,
)
from largen.theory.exact.gradients import GradientLaw as GradientLaw, gradient_law as gradient_law
from largen.theory.exact.linear import DeepLinear as DeepLinear, deep_linear as deep_linear
from largen.theory.exact.metric import metric_chain as metric_chain
from largen.theory.exact.sizes import SizeMoments as SizeMoments, size_moments as size_moments
from largen.theory.kernels import Kernel as Kernel, kernel as kernel
from largen.theory.signal.fixed_points import FixedPoints as FixedPoints, fixed_points as fixed_points
from largen.theory.signal.phase import PhaseDiagram as PhaseDiagram, phase_diagram as phase_diagram
from largen.theory.signal.signal import Signal as Signal, signal as signal
from largen.theory.signal.two_points import Angles as Angles, TwoPoints as TwoPoints, angles as angles, two_points as two_points

__version__ = "0.1.0"
