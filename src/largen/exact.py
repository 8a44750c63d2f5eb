"""Laws that hold at any width."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.theory.exact.couplings import couplings as couplings, neuron_covariance as neuron_covariance, running as running
    from largen.theory.exact.gradients import gradient_law as gradient_law
    from largen.theory.exact.linear import deep_linear as deep_linear
    from largen.theory.exact.metric import metric_chain as metric_chain
    from largen.theory.exact.sizes import size_moments as size_moments
    from largen.theory.signal.two_points import angles as angles, two_points as two_points

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
