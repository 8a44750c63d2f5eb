"""What functions return: every record."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.activations.critical import Critical as Critical
    from largen.activations.critical_points import CriticalPoint as CriticalPoint, Growth as Growth
    from largen.adapters.initialisation import Initialisation as Initialisation, InitialisedLayer as InitialisedLayer
    from largen.agreement.claim import Claim as Claim
    from largen.agreement.records import Check as Check, Entries as Entries
    from largen.agreement.richness import RichnessSweep as RichnessSweep
    from largen.networks.higher import SecondTangents as SecondTangents
    from largen.networks.metric import Metric as Metric
    from largen.networks.patterns import Tensors as Tensors
    from largen.networks.perturb import Perturbations as Perturbations
    from largen.networks.training import History as History
    from largen.parametrizations.classify import Classification as Classification, Condition as Condition, Demand as Demand
    from largen.parametrizations.derive import Derivation as Derivation
    from largen.parametrizations.effective import Effective as Effective
    from largen.parametrizations.growth import Sizes as Sizes
    from largen.parametrizations.picture import Picture as Picture
    from largen.prediction.nearly_kernel import NearlyKernel as NearlyKernel
    from largen.prediction.posterior.evidence import Evidence as Evidence
    from largen.prediction.posterior.fit import Fit as Fit
    from largen.prediction.posterior.representation import RepresentationUpdate as RepresentationUpdate
    from largen.prediction.posterior.scan import EvidenceScan as EvidenceScan
    from largen.prediction.record import Prediction as Prediction
    from largen.questions.aspect import AspectRatio as AspectRatio
    from largen.questions.asymptotics import Asymptotics as Asymptotics, ScaleInvariantTensors as ScaleInvariantTensors
    from largen.questions.complexity import Complexity as Complexity
    from largen.questions.contributions import Contributions as Contributions
    from largen.questions.depth import Depth as Depth
    from largen.questions.explain import Explanation as Explanation
    from largen.questions.generalization import Generalization as Generalization, Robustness as Robustness
    from largen.questions.information import Amounts as Amounts, Information as Information
    from largen.questions.rates import RatePlan as RatePlan
    from largen.questions.width import Width as Width
    from largen.theory.corrections.corrections import Corrections as Corrections
    from largen.theory.exact.couplings import Couplings as Couplings, Running as Running
    from largen.theory.exact.gradients import GradientLaw as GradientLaw
    from largen.theory.exact.linear import DeepLinear as DeepLinear
    from largen.theory.exact.sizes import SizeMoments as SizeMoments
    from largen.theory.kernels import Kernel as Kernel
    from largen.theory.signal.fixed_points import FixedPoints as FixedPoints
    from largen.theory.signal.phase import PhaseDiagram as PhaseDiagram
    from largen.theory.signal.signal import Signal as Signal
    from largen.theory.signal.two_points import Angles as Angles, TwoPoints as TwoPoints

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
