"""largen: the theory of wide neural networks as software.

An architecture is a value; a theory is a function of that value; a claim comes with its measurement.
"""

from largen.activations.activation import Activation as Activation, activation as activation
from largen.architecture.chain import chain as chain
from largen.architecture.nodes import Act as Act, Dense as Dense, Serial as Serial
from largen.architecture.presets import mlp as mlp, widen as widen
from largen.architecture.text import dumps as dumps, loads as loads
from largen.data import one_hot as one_hot, standardize as standardize
from largen.theory.kernels import Kernel as Kernel, kernel as kernel
from largen.scaling.rates import rates_of_sgd as rates_of_sgd

__version__ = "0.1.0"
