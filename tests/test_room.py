"""What is asked for more than the machine has is refused before it begins, in a sentence that says how much and what to do."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen import memory
from largen.errors import InputError
from largen.theory import held

KEY = jax.random.key(0)
X = np.array([[1.0, 0.5], [-0.5, 1.0], [0.3, 0.7]])
Y = np.array([1.0, -1.0, 0.5])
LONG = np.broadcast_to(X[:1], (10**9, 2))
IMAGES = np.broadcast_to(np.float32(0.1), (10_000, 32, 32, 3))
NET = lg.mlp(widths=[4], out=2, activation="tanh")
CHAIN = lg.mlp(widths=[4, 4], activation="relu", C_W=2.0)
LINEAR = lg.mlp(widths=[4], activation="linear")
WIDE = lg.mlp(widths=[10**9] * 2)
CNN = lg.cnn([8], pool=True)


PARAMS = lg.init(NET, 2, KEY)
MANY = lg.init(NET, 2, KEY, networks=2)
ONE = lg.init(CHAIN, 2, KEY, networks=2)

CALLS: dict[str, Callable[[], Any]] = {
    "kernel of images": lambda: lg.kernel(lg.cnn([8], pool=True), IMAGES),
    "kernel of more images": lambda: lg.kernel(lg.cnn([8]), np.broadcast_to(np.float32(0.1), (60_000, 32, 32, 1))),
    "kernel of tanh images": lambda: lg.kernel(lg.cnn([8], activation="tanh", pool=True), np.ones((64, 8, 8, 2))),
    "kernel of many points": lambda: lg.kernel(NET, np.ones((200_000, 1))),
    "kernel of two sets": lambda: lg.kernel(NET, np.ones((10**6, 1)), np.ones((10**6, 1))),
    "kernel of all layers": lambda: lg.kernel(lg.mlp(widths=[2] * 4000), np.ones((2000, 1)), layer="all"),
    "kernel of a view": lambda: lg.kernel(NET, LONG),
    "gram of many points": lambda: lg.gram(NET, np.ones((10**6, 1))),
    "gram of a view": lambda: lg.gram(NET, LONG),
    "standardize a view": lambda: lg.standardize(LONG),
    "signal of a view": lambda: lg.signal(NET, LONG),
    "signal of many points": lambda: lg.signal(NET, np.ones((10**5, 1))),
    "predict at many points": lambda: lg.predict(NET, X, Y, np.ones((200_000, 2)), covariance="full"),
    "predict at many times": lambda: lg.predict(NET, X, Y, X, time=np.broadcast_to(1.0, 10**8)),
    "predict from many points": lambda: lg.predict(NET, np.ones((10**5, 2)), np.ones(10**5), X),
    "predict to first order": lambda: lg.predict(CHAIN, np.ones((2000, 2)), np.ones(2000), X, order=1),
    "posterior to first order": lambda: lg.predict(CHAIN, np.ones((2000, 2)), np.ones(2000), X, how="bayes", order=1),
    "sample": lambda: lg.sample(lg.mlp(widths=[4], out=20), np.ones((60, 2)), KEY, draws=20_000_000),
    "init": lambda: lg.init(WIDE, 2, KEY),
    "init of a large input": lambda: lg.init(NET, 10**12, KEY),
    "init of many networks": lambda: lg.init(lg.mlp(widths=[512]), 10, KEY, networks=20_000_000),
    "init of more networks": lambda: lg.init(NET, 2, KEY, networks=10**11),
    "apply": lambda: lg.apply(NET, PARAMS, LONG),
    "preactivations": lambda: lg.measure.preactivations(lg.Dense(4), lg.init(lg.Dense(4), 2, KEY), LONG),
    "gradient_norms": lambda: lg.measure.gradient_norms(NET, PARAMS, LONG),
    "empirical_ntk": lambda: lg.empirical_ntk(NET, PARAMS, np.ones((50_000, 2))),
    "empirical_ntk, mean": lambda: lg.empirical_ntk(NET, PARAMS, np.ones((10**6, 2)), full=False),
    "empirical_ntk of each": lambda: lg.each(lg.empirical_ntk, NET, MANY, np.ones((50_000, 2))),
    "dntk of each": lambda: lg.each(lg.measure.dntk, NET, MANY, np.ones((1000, 2))),
    "dntk": lambda: lg.measure.dntk(NET, PARAMS, np.ones((2000, 2))),
    "ddntk": lambda: lg.measure.ddntk(NET, PARAMS, np.ones((400, 2))),
    "train for many steps": lambda: lg.train(NET, PARAMS, X, np.ones((3, 2)), 0.1, 10**12),
    "train and record": lambda: lg.train(NET, PARAMS, X, np.ones((3, 2)), 0.1, 10, record=(np.broadcast_to(X[:1], (10**9, 2)), [1])),
    "train each": lambda: lg.each(lg.train, NET, MANY, X, np.ones((3, 2)), 0.1, 10**11),
    "metric_chain": lambda: lg.exact.metric_chain(CHAIN, X, KEY, draws=100_000_000),
    "metric": lambda: lg.each(lg.measure.metric, CHAIN, ONE, np.ones((2000, 2))),
    "tensors": lambda: lg.each(lg.measure.tensors, CHAIN, ONE, np.ones((1000, 2)), tensors=("V",)),
    "perturbations": lambda: lg.each(lg.measure.perturbations, CHAIN, ONE, LONG, KEY),
    "corrections": lambda: lg.corrections(CHAIN, np.random.default_rng(0).normal(size=(500, 2))),
    "corrections, K": lambda: lg.corrections(CHAIN, np.ones((200_000, 2)), tensors=("K",)),
    "width": lambda: lg.width(CHAIN, np.random.default_rng(0).normal(size=(500, 2))),
    "evidence": lambda: lg.bayes.evidence(NET, np.ones((10**5, 2)), np.ones(10**5), 0.1),
    "evidence to first order": lambda: lg.bayes.evidence(CHAIN, np.random.default_rng(0).normal(size=(500, 2)), np.ones(500), 0.1, order=1),
    "scan": lambda: lg.bayes.scan(CHAIN, X, Y, 1.0, depths=30_000_000),
    "representation_update": lambda: lg.bayes.representation_update(CHAIN, LONG[:500], np.ones(500), 0.1),
    "generalization": lambda: lg.analysis.generalization(NET, X, Y, np.ones((200_000, 2)), np.ones(200_000)),
    "information": lambda: lg.analysis.information(CHAIN, X[:1], key=KEY, draws=10**9),
    "contributions": lambda: lg.analysis.contributions(CNN, np.ones((40, 32, 32, 3))),
    "phase_diagram": lambda: lg.phase_diagram("tanh", np.ones(10**5), np.ones(10**5)),
    "deep_linear": lambda: lg.exact.deep_linear(LINEAR, np.ones((100, 2)), order=5),
    "deep_linear of high order": lambda: lg.exact.deep_linear(LINEAR, X[:1], order=20),
    "size_moments": lambda: lg.exact.size_moments(CHAIN, X[:1], order=100_000),
    "max_learning_rate": lambda: lg.max_learning_rate(np.broadcast_to(1.0, (10**5, 10**5))),
    "couplings": lambda: lg.exact.couplings(np.broadcast_to(1.0, (10**5, 10**5)), np.ones((1, 1, 1, 1)), np.ones((1, 1)), 5),
    "one_hot": lambda: lg.one_hot(np.zeros(1000, int), classes=30_000_000),
    "one_hot of a view": lambda: lg.one_hot(np.broadcast_to(1, 10**11)),
    "angles": lambda: lg.exact.angles("relu", 1.0, layers=30_000_000),
    "angles of many": lambda: lg.exact.angles("relu", np.ones(10**6), layers=50_000),
    "Repeat": lambda: lg.Repeat(lg.Dense(4) >> lg.Act("relu"), 20_000_000),
    "Repeat of repeats": lambda: lg.Repeat(lg.Sum(lg.Identity(), lg.Repeat(lg.Dense(4), 1000)), 1000),
    "resnet": lambda: lg.resnet([8], blocks=10_000_000),
    "resnet_mlp": lambda: lg.resnet_mlp(8, blocks=10_000_000),
    "transformer": lambda: lg.transformer(8, blocks=10_000_000),
    "mlp": lambda: lg.mlp(widths=[1] * 1_000_000),
    "cnn": lambda: lg.cnn([1] * 1_000_000),
    "check": lambda: lg.check(CHAIN, X, Y, widths=(10**6, 2 * 10**6, 4 * 10**6, 8 * 10**6)),
    "check of many": lambda: lg.check(CHAIN, X, Y, networks=10**12),
    "check of signals": lambda: lg.check(CHAIN, X, what="signal", widths=(10**6, 2 * 10**6, 4 * 10**6, 8 * 10**6)),
    "check of many signals": lambda: lg.check(CHAIN, X, what="signal", networks=10**12),
    "check of kernels": lambda: lg.check(CHAIN, X, what="kernels", networks=10**12),
    "check of tensors": lambda: lg.check(CHAIN, X, what="tensors", widths=(10**6, 2 * 10**6, 4 * 10**6, 8 * 10**6)),
    "check of many tensors": lambda: lg.check(CHAIN, X, what="tensors", networks=10**12),
}  # fmt: skip


@pytest.fixture(autouse=True)
def a_machine_of_eight_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 8.0 * 2**30)


def test_a_prediction_counts_its_kernels_as_kernels_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series of smooth activations weigh far more than a few points: lg.kernel of all points, if few, or of those that are drawn, fits
    where lg.predict does, and no sooner."""
    X, train, test = np.ones((30, 2)), slice(20), slice(20, 30)
    calls = [(30, lambda: lg.kernel(NET, X)), (30, lambda: lg.predict(NET, X[train], np.ones((20, 2)), X[test], ridge=1.0))]
    calls += [(30, lambda: lg.sample(NET, X, KEY)), (30, lambda: lg.bayes.evidence(NET, X, np.ones((30, 2)), ridge=1.0))]
    for points, call in calls:
        needed = 8.0 * held.numbers(NET, (2,), points, points, False)
        monkeypatch.setattr(memory, "available", lambda needed=needed: 0.99 * needed)
        with pytest.raises(InputError, match="GiB"):
            call()
        monkeypatch.setattr(memory, "available", lambda needed=needed: 1.01 * needed)
        call()


@pytest.mark.parametrize("name", CALLS)
def test_it_is_said_before_it_begins(name: str) -> None:
    began = time.process_time()  # others may be at work too
    with pytest.raises(InputError) as error:
        CALLS[name]()
    said = str(error.value)
    assert len(said) < 600 and ("GiB" in said or "at most" in said), said
    assert time.process_time() - began < 10
