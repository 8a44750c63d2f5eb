"""largen: the theory of wide neural networks as software.

An architecture is a value; a theory is a function of that value; a claim comes with its measurement.
"""

from largen.activations.activation import Activation as Activation, activation as activation
from largen.agreement.check import Check as Check, check as check
from largen.agreement.claims import Claim as Claim
from largen.architecture.chain import chain as chain
from largen.architecture.nodes import Act as Act, Dense as Dense, Serial as Serial
from largen.architecture.presets import mlp as mlp, widen as widen
from largen.architecture.text import dumps as dumps, loads as loads
from largen.data import one_hot as one_hot, standardize as standardize
from largen.networks.empirical import empirical_ntk as empirical_ntk
from largen.networks.ensemble import (
    apply_ensemble as apply_ensemble,
    empirical_ntk_ensemble as empirical_ntk_ensemble,
    init_ensemble as init_ensemble,
    preactivations_ensemble as preactivations_ensemble,
    train_ensemble as train_ensemble,
)
from largen.networks.outputs import apply as apply, preactivations as preactivations
from largen.networks.parameters import init as init
from largen.networks.training import History as History, train as train
from largen.prediction.predict import Prediction as Prediction, predict as predict
from largen.prediction.sample import sample as sample
from largen.prediction.spectrum import max_learning_rate as max_learning_rate
from largen.scaling.rates import rates_of_sgd as rates_of_sgd
from largen.theory.kernels import Kernel as Kernel, kernel as kernel

__version__ = "0.1.0"
