"""Evidence, hyperparameters by evidence, and what a posterior does to representations."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.prediction.posterior.evidence import evidence as evidence
    from largen.prediction.posterior.fit import fit as fit
    from largen.prediction.posterior.representation import (
        conditional_variance as conditional_variance,
        representation_update as representation_update,
    )
    from largen.prediction.posterior.scan import scan as scan

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
