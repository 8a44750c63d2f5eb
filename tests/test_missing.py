"""What a result record has not is None, and `.missing` says why: every record that can have such a field, in calls that leave it so."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax
import pytest

import largen as lg
from largen.architecture.nodes import Node

X, Y = np.array([[1.0, -0.5], [0.3, 0.9], [-0.7, 0.4]]), np.array([1.0, -1.0, 0.5])
KEY = jax.random.key(0)
MEANT = {  # None is a value there, and the docstring says which
    "Claim.layer": "the output",
    "Claim.step": "not of training",
    "Claim.modes": "not of modes",
    "Explanation.shape": "not said by the caller",
    "Explanation.n": "not said by the caller",
    "Activation.closed": "expectations by quadrature",
    "Derivation.bounds": "no bound",
    "Effective.depth": "no scaling with depth",
    "Tracked.asked_by": "nothing asks for more",
}


def records(value: Any) -> Iterator[Any]:
    """The result records in a value, those inside others too."""
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Node)):
        yield value
        for part in dataclasses.fields(value):
            yield from records(getattr(value, part.name))
    elif isinstance(value, dict):
        for inner in value.values():
            yield from records(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from records(inner)


def calls() -> Iterator[Any]:
    relu, tanh = (lg.mlp([8, 8], 3, name, C="critical") for name in ("relu", "tanh"))
    for name in ("relu", "tanh", "elu", "hardtanh", "gelu", "sigmoid"):
        yield lg.critical(name)
    yield lg.critical(lambda z: z + z**3)
    yield lg.fixed_points("relu", 2.0, 0.0), lg.fixed_points("relu", 2.5, 0.1)
    yield lg.phase_diagram("relu", [1.0, 2.0], [0.0])
    yield lg.corrections(tanh, X[:1], tensors=("V",))
    yield lg.exact.two_points(relu, X[0], X[1]), lg.exact.gradient_law(relu)
    yield lg.plan_rates(relu), lg.plan_rates(lg.mlp([8], 1, "relu")), lg.plan_rates(lg.resnet_mlp(4, 1, activation="relu", norm=True))
    yield lg.how_deep("relu", 64), lg.how_deep(lg.mlp([8] * 2, 1, "tanh", C_W=2.15330265, C_b=0.15096463))
    yield lg.analysis.optimal_aspect_ratio("relu", 1), lg.analysis.asymptotics("relu"), lg.analysis.scale_invariant_tensors("relu", 3)
    yield lg.analysis.information(relu, X[:1]), lg.analysis.information(relu, X), lg.analysis.information(relu, X[:1], units=(1, 1, 1))
    yield lg.analysis.complexity(relu, 2), lg.analysis.complexity(lg.resnet_mlp(4, 1, activation="relu", norm=True), 2)
    yield (
        lg.bayes.evidence(relu, X, np.tile(Y[:, None], 3), ridge=0.1),
        lg.bayes.scan(lg.mlp([8], 1, "sigmoid"), X, Y, [1.0], ridge=0.1),
    )
    yield lg.train(tanh, lg.init(tanh, 2, KEY), X, np.tile(Y[:, None], 3), eta=None, steps=1, optimizer=optax.sgd(0.1))[1]
    yield lg.each(lg.measure.tensors, tanh, lg.init(tanh, 2, KEY, networks=2), X[:1], tensors=("V",))
    yield lg.measure.tensors(tanh, lg.init(tanh, 2, KEY), X[:1])
    yield lg.explain(relu)
    for what in ("training", "kernels", "signal", "tensors"):
        yield lg.check(lg.mlp([4], 1, "erf", C_b=0.1), X, Y, what=what, networks=20)


@pytest.mark.slow
def test_a_field_that_is_none_has_its_reason() -> None:
    seen: set[str] = set()
    for found in calls():
        for record in records(found):
            kind = type(record).__name__
            for part in dataclasses.fields(record):
                if getattr(record, part.name) is not None or f"{kind}.{part.name}" in MEANT:
                    continue
                seen.add(f"{kind}.{part.name}")
                reason = getattr(record, "missing", {}).get(part.name, "")
                assert len(reason) > 5, f"{kind}.{part.name} is None and .missing does not say why"
    assert len(seen) > 50, sorted(seen)


def test_records_that_can_lack_a_field_have_missing() -> None:
    assert len(lg.records.__all__) > 40
    for name in lg.records.__all__:
        thing = getattr(lg.records, name)
        if dataclasses.is_dataclass(thing):
            empty = [f.name for f in dataclasses.fields(thing) if re.search(r"\bNone\b", str(f.type)) and f"{name}.{f.name}" not in MEANT]
            assert not empty or hasattr(thing, "missing") or "missing" in {f.name for f in dataclasses.fields(thing)}, (name, empty)
