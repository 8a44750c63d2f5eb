"""largen: the theory of wide neural networks as software.

An architecture is a value; a theory is a function of that value; a claim comes with its measurement.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen import (
        analysis as analysis,
        bayes as bayes,
        equinox as equinox,
        errors as errors,
        exact as exact,
        flax as flax,
        measure as measure,
        records as records,
        scaling as scaling,
        torch as torch,
    )
    from largen.activations.activation import Activation as Activation, activation as activation
    from largen.activations.critical import critical as critical
    from largen.activations.gain import gain as gain
    from largen.agreement.check import check as check
    from largen.architecture.attention import Attention as Attention, PositionalEmbedding as PositionalEmbedding
    from largen.architecture.branches import (
        Concat as Concat,
        Dropout as Dropout,
        Identity as Identity,
        Product as Product,
        Repeat as Repeat,
        Sum as Sum,
    )
    from largen.architecture.image_presets import cnn as cnn, myrtle as myrtle, resnet as resnet
    from largen.architecture.nodes import Act as Act, Dense as Dense, Serial as Serial
    from largen.architecture.norms import LayerNorm as LayerNorm, RMSNorm as RMSNorm
    from largen.architecture.pools import AvgPool as AvgPool, GlobalAvgPool as GlobalAvgPool, MaxPool as MaxPool, SumPool as SumPool
    from largen.architecture.presets import mlp as mlp, resnet_mlp as resnet_mlp, transformer as transformer, widen as widen
    from largen.architecture.spatial import (
        Aggregate as Aggregate,
        Conv as Conv,
        ConvLocal as ConvLocal,
        ConvTranspose as ConvTranspose,
        Flatten as Flatten,
    )
    from largen.architecture.text import dumps as dumps, loads as loads
    from largen.data import one_hot as one_hot, standardize as standardize
    from largen.grams.gram import gram as gram
    from largen.networks.empirical import empirical_ntk as empirical_ntk
    from largen.networks.ensemble import each as each
    from largen.networks.outputs import apply as apply
    from largen.networks.parameters import init as init
    from largen.networks.training import train as train
    from largen.parametrizations.parametrization import Parametrization as Parametrization
    from largen.parametrizations.rates import rates_of_sgd as rates_of_sgd
    from largen.prediction.predict import predict as predict
    from largen.prediction.sample import sample as sample
    from largen.prediction.spectrum import max_learning_rate as max_learning_rate
    from largen.questions.depth import how_deep as how_deep
    from largen.questions.explain import explain as explain
    from largen.questions.rates import plan_rates as plan_rates
    from largen.questions.width import width as width
    from largen.report.figure import figure as figure
    from largen.theory.corrections.corrections import corrections as corrections
    from largen.theory.kernels import kernel as kernel
    from largen.theory.signal.fixed_points import fixed_points as fixed_points
    from largen.theory.signal.phase import phase_diagram as phase_diagram
    from largen.theory.signal.signal import signal as signal

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)

__version__ = "0.1.0"
