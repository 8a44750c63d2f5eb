"""`lg.each` of every function of one network equals a loop over the networks, whatever the chunk."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.core import Tracer

import largen as lg
from largen import memory
from largen.errors import InputError
from largen.networks import work

KEY = jax.random.key(5)
RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))
NET = lg.mlp(widths=[6], out=2, activation="tanh", C_W=1.5, C_b=0.1)
MANY = lg.init(NET, 3, KEY, networks=5, dtype=np.float64)
SINGLES = [lg.init(NET, 3, k, dtype=np.float64) for k in jax.random.split(KEY, 5)]
SMALL = lg.init(NET, 3, KEY, networks=5, dtype=np.float32)


def spread(net: Any, params: Any, X: Any, power: float, kind: str = "mean", layer: int = 0) -> Any:
    """A function of one's own: of arrays, numbers and words, that calls functions of the library, and returns a pytree."""
    z = list(lg.measure.preactivations(net, params, X).values())[layer]
    return {"of": jnp.abs(z) ** power, kind: getattr(jnp, kind)(z), "net": net.nodes[0].C_W * params["dense1"]["b"]}


MEASURES = {name: f for name in lg.measure.__all__ if inspect.isfunction(f := getattr(lg.measure, name))}
FUNCTIONS = {"apply": lg.apply, "train": lg.train, "empirical_ntk": lg.empirical_ntk, **MEASURES, "one's own": spread}
ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {  # besides the points
    "train": ((Y, 0.05, 4), {"record": (X, [1, 4])}),
    "empirical_ntk": ((X[:2],), {"rates": (1.0, 2.0)}),
    "perturbations": ((jax.random.key(1),), {}),
    "tensors": ((), {"tensors": ("K", "Theta", "F", "B")}),
    "one's own": ((1.5,), {"kind": "std", "layer": 1}),
}


def call(name: str, params: Any, points: Any = X, each: bool = True, **more: Any) -> Any:
    args, options = ARGUMENTS.get(name, ((), {}))
    points = points[:2] if name in ("ddntk", "tensors") else points
    if each:
        return lg.each(FUNCTIONS[name], NET, params, points, *args, **options, **more)
    return FUNCTIONS[name](NET, params, points, *args, **options)


def stacked(results: list[Any]) -> Any:
    return jax.tree.map(lambda *parts: np.stack(parts), *results)


def assert_close(found: Any, wanted: Any, rtol: float) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-2 * rtol * float(np.abs(b).max())), found, wanted)


def test_parameters_equal_a_loop() -> None:
    for k, single in enumerate(SINGLES):
        jax.tree.map(lambda a, b, k=k: np.testing.assert_array_equal(np.asarray(a)[k], b), MANY, single)


def test_every_public_function_of_one_network_is_known() -> None:
    """Those that take a network and its parameters: so a new one is tested here, and shares its work with `lg.each`."""
    found = {f for space in (lg, lg.measure) for f in (getattr(space, name) for name in space.__all__) if inspect.isfunction(f)}
    own = {f for f in found if list(inspect.signature(f).parameters)[:2] == ["net", "params"]}
    assert own == set(FUNCTIONS.values()) - {spread} and own <= set(work.KNOWN)
    for f in own:  # what help() says is what comes back
        assert "Work" not in str(inspect.signature(f).return_annotation)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_a_loop(name: str) -> None:
    if name == "one's own":  # which leaves the island to `lg.each`
        with jax.enable_x64(True):
            loop = [call(name, p, each=False) for p in SINGLES]
    else:
        loop = [call(name, p, each=False) for p in SINGLES]
    if name == "train":  # the time is that of all
        loop = [(p, (h.loss, h.outputs)) for p, h in loop]
    for chunk in (None, 2, 8):
        found = call(name, MANY, chunk=chunk)
        if name == "train":
            assert found[1].time.shape == (5,)
            found = found[0], (found[1].loss, found[1].outputs)
        assert_close(found, stacked(loop), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtypes_and_containers_are_those_of_one_network(name: str) -> None:
    """float64 for float64 parameters, the flag off; NumPy for NumPy points, JAX for JAX."""
    for params, single in ((MANY, SINGLES[0]), (SMALL, jax.tree.map(lambda a: a[0], SMALL))):
        kind = params["dense1"]["W"].dtype
        for points in (X, X.astype(np.float32), jnp.asarray(X, np.float32)):
            if name == "one's own":
                leaves = jax.tree.leaves(call(name, params, points))
                assert all(a.dtype == kind and isinstance(a, jax.Array) == isinstance(points, jax.Array) for a in leaves)
                continue
            found, one = (jax.tree.leaves(call(name, p, points, each=each)) for p, each in ((params, True), (single, False)))
            assert [(a.dtype, isinstance(a, jax.Array)) for a in found] == [(a.dtype, isinstance(a, jax.Array)) for a in one]
            assert all(a.dtype == kind for a in found)


def compiled(caplog: pytest.LogCaptureFixture, ask: Callable[[], Any]) -> list[str]:
    """What JAX's log says of what is compiled meanwhile."""
    caplog.clear()
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        ask()
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling")]


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_second_call_compiles_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    call(name, MANY, chunk=2)
    before = work._mapped.traced
    assert not compiled(caplog, lambda: call(name, jax.tree.map(lambda a: a, MANY), X.copy(), chunk=2))
    assert work._mapped.traced == before
    call(name, MANY, chunk=3)
    assert work._mapped.traced == before + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("train", "ddntk")])  # no reverse mode; long derivatives
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_traced_ensembles(name: str, kind: str) -> None:
    """Under jit, and derivatives in the points, the flag off: those of one network after the other."""
    params = lg.init(NET, 3, KEY, networks=2, dtype=kind)
    singles = [lg.init(NET, 3, k, dtype=kind) for k in jax.random.split(KEY, 2)]
    points, plain = jnp.asarray(X, np.float32), call(name, params, X.astype(np.float32))
    assert_close(jax.jit(lambda x: call(name, params, x))(points), jax.tree.map(lambda a: np.asarray(a, np.float32), plain), 1e-3)
    if name == "one's own" and kind == "float64":  # alone it has no border
        return

    def total(x: Any, p: Any, each: bool) -> Any:
        leaves = jax.tree.leaves(call(name, p, x, each=each))
        return sum(jnp.sum(leaf * jnp.cos(leaf)) for leaf in leaves if isinstance(leaf, Tracer))

    want = sum(np.asarray(jax.grad(lambda x, p=p: total(x, p, False))(points)) for p in singles)
    got = jax.grad(lambda x: total(x, params, True))(points)
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3 * float(np.abs(want).max()))


def test_gradients_in_the_parameters_and_vmap() -> None:
    def loss(p: Any) -> Any:
        return (lg.each(lg.apply, NET, p, jnp.asarray(X, np.float32), chunk=2) ** 2).sum()

    slopes = jax.grad(loss)(SMALL)["dense1"]["W"]
    one = jax.grad(lambda p: (lg.apply(NET, p, jnp.asarray(X, np.float32)) ** 2).sum())(jax.tree.map(lambda a: a[3], SMALL))
    np.testing.assert_allclose(slopes[3], one["dense1"]["W"], rtol=1e-4, atol=1e-5)
    groups = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), SMALL)
    both = jax.vmap(lambda p: lg.each(lg.apply, NET, p, X))(groups)
    np.testing.assert_allclose(both[0], lg.each(lg.apply, NET, SMALL, X), rtol=1e-5, atol=1e-6)


def test_optimizer_in_an_ensemble() -> None:
    adam = optax.adam(1e-2)
    losses = lg.each(lg.train, NET, MANY, X, Y, None, 3, optimizer=adam, chunk=2)[1].loss
    np.testing.assert_allclose(losses[3], lg.train(NET, SINGLES[3], X, Y, None, 3, optimizer=adam)[1].loss, rtol=1e-11)


def test_a_function_of_the_parameters_alone() -> None:
    norm = lg.each(lambda net, p: (p["dense1"]["W"] ** 2).sum(), NET, MANY)
    assert isinstance(norm, np.ndarray) and norm.dtype == np.float64
    np.testing.assert_allclose(norm, (np.asarray(MANY["dense1"]["W"]) ** 2).sum((1, 2)), rtol=1e-12)


def test_a_random_key_is_one_for_all_networks() -> None:
    net = lg.Dense(8) >> lg.Dropout(0.5) >> lg.Dense(1)
    params = lg.init(net, 3, KEY, networks=2)
    twice = jax.tree.map(lambda a: jnp.stack([a[0], a[0]]), params)
    z = lg.each(lg.apply, net, twice, X, key=KEY)
    np.testing.assert_array_equal(z[0], z[1])
    assert np.abs(z - lg.each(lg.apply, net, twice, X)).max() > 1e-3


def test_work_goes_on_in_chunks_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One network at a time on a CPU; elsewhere as many as the memory of machine and device holds."""
    sizes: list[int] = []
    mapped = work._mapped
    monkeypatch.setattr(work, "_mapped", lambda *args: sizes.append(args[-2]) or mapped(*args))
    lg.each(lg.apply, NET, MANY, X)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    lg.each(lg.apply, NET, MANY, X)
    monkeypatch.setattr(memory, "available", lambda: 8.0 * (5 * 4 * 2 + 3 * 4 * 4 * 6))  # the results, and three networks at work
    lg.each(lg.apply, NET, MANY, X)
    lg.each(spread, NET, MANY, X, 2.0)
    assert sizes == [1, 5, 3, 1]
    with pytest.raises(InputError, match="GiB"):
        lg.each(lg.apply, NET, MANY, X, chunk=4)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "init": (lambda: lg.init(NET, 3, KEY, networks=0), "`networks`"),
    "chunk 0": (lambda: lg.each(lg.apply, NET, MANY, X, chunk=0), "`chunk`"),
    "chunk": (lambda: lg.each(spread, NET, MANY, X, 1.0, chunk=1.5), "`chunk`"),  # type: ignore[arg-type]
    "one network": (lambda: lg.each(lg.apply, NET, SINGLES[0], X), r"got shape \(3, 6\); needed shape \(3, 3, 6\)"),
    "no network": (lambda: lg.each(lg.apply, NET, {}, X), "networks="),
    "no network for one's own": (lambda: lg.each(spread, NET, {}, X, 1.0), "networks="),
    "networks that do not fit": (
        lambda: lg.each(spread, NET, {**MANY, "dense2": SINGLES[0]["dense2"]}, X, 1.0),
        r"first axis of each \(5,\)",
    ),
    "whole parameters": (lambda: lg.each(spread, NET, jax.tree.map(lambda a: a.astype(int), MANY), X, 1.0), "real floats"),
    "NaN": (lambda: lg.each(lg.train, NET, MANY, X * np.nan, Y, 0.1, 2), "`X`"),
    "targets": (lambda: lg.each(lg.train, NET, MANY, X, Y[:2], 0.1, 2), "`y`"),
    "NaN for one's own": (lambda: lg.each(spread, NET, jax.tree.map(lambda a: a * np.nan, SMALL), X, 1.0), "NaN"),
    "words for one's own": (lambda: lg.each(spread, NET, MANY, np.array([["a"]]), 1.0), "`args`"),
    "no function": (lambda: lg.each("apply", NET, MANY, X), "`fn`"),  # type: ignore[arg-type]
    "what has no hash": (lambda: lg.each(spread, NET, MANY, X, 1.0, {1, 2}), "hashed"),
    "no network value": (lambda: lg.each(spread, 3, MANY, X, 1.0), "`net`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_before_anything_is_compiled(case: str, caplog: pytest.LogCaptureFixture) -> None:
    ask, told = REFUSED[case]

    def refused() -> None:
        with pytest.raises(InputError, match=told):
            ask()

    assert not [line for line in compiled(caplog, refused) if "mapped" in line]


def test_one_diverging_network_raises() -> None:
    with pytest.raises(InputError, match=r"a loss that is not finite from step \d+ on in [1-5] of 5 networks"):
        lg.each(lg.train, NET, MANY, X, Y, 1e4, 100)
    net = lg.mlp(widths=[6], out=2, activation="relu", C_W=2.0)
    one = jax.tree.map(lambda a: a.at[3].multiply(40.0), lg.init(net, 3, KEY, networks=5))
    with pytest.raises(InputError, match="in 1 of 5 networks"):
        lg.each(lg.train, net, one, X, Y, 0.01, 200)
