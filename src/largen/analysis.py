"""What theory alone answers beyond kernels: asymptotics, complexity, information, aspect ratios, generalization."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.architecture.chain import chain as chain
    from largen.prediction.nearly_kernel import QuadraticModel as QuadraticModel, nearly_kernel as nearly_kernel
    from largen.questions.aspect import optimal_aspect_ratio as optimal_aspect_ratio, optimal_residual as optimal_residual
    from largen.questions.asymptotics import asymptotics as asymptotics, scale_invariant_tensors as scale_invariant_tensors
    from largen.questions.complexity import complexity as complexity
    from largen.questions.contributions import contributions as contributions
    from largen.questions.generalization import generalization as generalization, robustness as robustness
    from largen.questions.information import information as information

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
