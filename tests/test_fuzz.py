"""A small run of benchmarks/fuzz.py: calls enumerated from signatures end in a result or in a sentence."""

import collections
import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import largen as lg

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CALLS = 1000


@pytest.fixture(scope="module")
def fuzz() -> Iterator[Any]:
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("fuzz")


@pytest.mark.slow
def test_every_call_ends_in_a_result_or_a_sentence(fuzz: Any, capsys: pytest.CaptureFixture[str]) -> None:
    base = fuzz.bases()
    counts: collections.Counter[str] = collections.Counter()
    failures = []
    for call in fuzz.drawn(base, CALLS, short=True):
        outcome = fuzz.run(call, base)
        counts[outcome.verdict] += 1
        if outcome.verdict not in ("accepted", "refused"):
            failures.append(f"{outcome.verdict}: {call}: {outcome.told}")
    assert not failures, "\n".join(failures)
    assert counts["accepted"] >= 0.3 * CALLS, counts


def test_calls_cover_every_argument_and_are_the_same_every_time(fuzz: Any) -> None:
    base = fuzz.bases()
    calls = fuzz.drawn(base, CALLS, short=True)
    assert [str(call) for call in calls] == [str(call) for call in fuzz.drawn(base, CALLS, short=True)]
    assert {(call.name, call.argument) for call in calls} == {(name, argument) for name, (_, given) in base.items() for argument in given}
    assert len(fuzz.callables()) > 90
    assert {"kernel", "Dense", "Sum", "init", "QuadraticModel", "Repeat"} <= set(base) and "Kernel" not in base


def test_a_new_argument_has_to_get_a_value(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lg, "brand_new", lambda unheard_of: unheard_of, raising=False)
    monkeypatch.setattr(lg, "__all__", [*lg.__all__, "brand_new"])
    with pytest.raises(LookupError, match=r"`unheard_of` of lg.brand_new"):
        fuzz.bases()


@pytest.mark.parametrize(
    "function, verdict, told",
    [
        (lambda X: X.undefined, "foreign", "AttributeError"),
        (lambda X: {"a": [np.array([1.0, np.nan])]}, "silent", "result.a.0"),
        (lambda X: warnings.warn("it overflows", stacklevel=1) or np.inf, "accepted", ""),
        (lambda X: lg.kernel("net", X), "refused", "`net`"),
        (lambda X: lg.kernel(lg.Dense(1), X), "accepted", ""),
    ],
)
def test_the_judge(fuzz: Any, function: Any, verdict: str, told: str) -> None:
    call = fuzz.Call("f", "X", "mild", "as it is", lambda: fuzz.X)
    found = fuzz.run(call, {"f": (function, {"X": fuzz.X})})
    assert found.verdict == verdict and told in found.told
