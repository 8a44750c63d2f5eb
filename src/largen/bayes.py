"""Evidence, hyperparameters by evidence, and what a posterior does to representations."""

from largen.prediction.posterior.evidence import evidence as evidence
from largen.prediction.posterior.fit import fit as fit
from largen.prediction.posterior.representation import (
    conditional_variance as conditional_variance,
    representation_update as representation_update,
)
from largen.prediction.posterior.scan import scan as scan
