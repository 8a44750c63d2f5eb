"""Networks in batches: as many as asked for, independent, of bounded size, the same whatever the batches."""

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement import batches
from largen.networks.outputs import outputs

X = np.eye(2)
NET = lg.mlp(widths=[6, 5], out=1, activation="tanh")


def test_as_many_networks_as_asked_for_all_different() -> None:
    z = batches.measured(outputs, NET, X, jax.random.key(0), 700)
    assert z.shape == (700, 2, 1) and z.dtype == np.float64 and len(np.unique(z[:, 0, 0])) == 700


@pytest.mark.parametrize("room", [2.0**12, 2.0**16, 2.0**28])
def test_batches_fit_and_are_of_one_size(room: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BYTES", room)
    drawn = [(len(params["dense1"]["b"]), chunk) for params, chunk in batches.batches(NET, X, jax.random.key(1), 100, 250)]
    sizes, chunks = zip(*drawn, strict=True)
    assert len(set(drawn)) == 1 and sum(sizes) >= 250 and sizes[0] % chunks[0] == 0
    assert sizes[0] in (1, 100) or 4.0 * 500 * sizes[0] <= room


def test_a_network_that_is_larger_than_a_batch_is_drawn_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BYTES", 1.0)
    assert batches.measured(outputs, NET, X, jax.random.key(0), 3).shape == (3, 2, 1)
