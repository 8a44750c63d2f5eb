"""Trained predictions from kernels: flow, posterior, samples, step sizes.

Solvers (`spectrum`, `factored`, `flow`) take arrays, and of test with train points any operator; `predict` and `sample` fetch them from
theory, with `kernel=` from the caller, or with `params=` from networks.
"""

from largen.prediction.flow import Schedule as Schedule, schedule as schedule, weights as weights
from largen.prediction.predict import predict as predict
from largen.prediction.record import Prediction as Prediction
from largen.prediction.sample import draw as draw, sample as sample
from largen.prediction.spectrum import (
    Condition as Condition,
    Factorization as Factorization,
    factor as factor,
    max_learning_rate as max_learning_rate,
)
