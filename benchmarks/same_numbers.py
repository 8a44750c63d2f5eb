"""The numbers of every public function on fifty networks, written to a file, and two such files compared.

A change that is meant to leave numbers alone shows it so: run `python benchmarks/same_numbers.py write before.npz` on the commit before
(with PYTHONPATH on its `src`), the same with `after.npz` on the one after, then `python benchmarks/same_numbers.py compare before.npz
after.npz`. Names and orders of arguments are today's; `Before` knows those of the first house. A network that is done is not
computed again (`write` resumes). What is compared: every number of every result, relative to the largest of its array, and the bytes of
stores.
"""

import argparse
import dataclasses
import hashlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

import largen
from largen.errors import LargenError

lg: Any = largen  # this house or the first
KEY = jax.random.key(0)
SAME = 1e-12
KEPT = {
    "analysis": (
        *("asymptotics", "chain", "complexity", "contributions", "generalization", "information", "nearly_kernel"),
        *("optimal_aspect_ratio", "optimal_residual", "robustness", "scale_invariant_tensors"),
    ),
    "bayes": ("fit", "conditional_variance", "representation_update"),
    "exact": (
        "angles",
        "couplings",
        "deep_linear",
        "gradient_law",
        "metric_chain",
        "neuron_covariance",
        "running",
        "size_moments",
        "two_points",
    ),
    "measure": ("gradient_norms", "preactivations"),
}  # names that stood on the face of the first house
RENAMED = {"bayes": {"scan": "evidence_scan"}, "measure": {"ddntk": "empirical_ddntk", "dntk": "empirical_dntk"}}


class Before:
    """The first house under today's names and orders of arguments."""

    def __init__(self) -> None:
        for space, kept in KEPT.items():
            names = dict(zip(kept, kept, strict=True)) | RENAMED.get(space, {})
            setattr(self, space, SimpleNamespace(**{name: getattr(lg, old) for name, old in names.items()}))
        self.measure.metric = self.measure.perturbations = self.measure.tensors = None  # of ensembles only
        self.bayes.evidence = lg.evidence_parts

    def __getattr__(self, name: str) -> Any:
        return getattr(lg, name)

    def init(self, net: Any, n_in: Any, key: Any, networks: int | None = None, **options: Any) -> Any:
        return lg.init(net, key, n_in, **options) if networks is None else lg.init_ensemble(net, key, n_in, networks, **options)

    def sample(self, net: Any, X: Any, key: Any, **options: Any) -> Any:
        return lg.sample(net, key, X, **options)

    def each(self, fn: str, net: Any, params: Any, *args: Any, **options: Any) -> Any:
        """Of measured tensors, metrics and perturbations too, which were functions of ensembles."""
        return getattr(lg, f"{'tensor' if fn == 'tensors' else fn}_ensemble")(net, params, *args, **options)


FACE: Any = lg if hasattr(lg, "each") else Before()


def each(name: str, net: Any, params: Any, *args: Any, **options: Any) -> Any:
    """A function of one network over an ensemble."""
    if isinstance(FACE, Before):
        return FACE.each(name, net, params, *args, **options)
    home = FACE.measure if hasattr(FACE.measure, name) else FACE
    return FACE.each(getattr(home, name), net, params, *args, **options)


def networks() -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Fifty networks: name, network, shape of one input."""
    flat = (
        "linear relu leaky_relu abs tanh sin cos erf gelu gelu_tanh swish sigmoid softplus elu selu mish arctan softsign hardtanh gaussian"
    )
    for name in flat.split():
        yield name, lg.mlp(widths=[6, 8], out=2, activation=name, C_W=1.3, C_b=0.2), (3,)
    for name in ("monomial(3)", "rectified_monomial(2)", "hermite(2)", "polynomial(0.0, 1.0, 0.3)", "leaky_relu(0.3)"):
        yield name, lg.mlp(widths=[5], out=1, activation=name, C_W=0.8, C_b=0.1), (3,)
    for depth in (2, 4, 6):
        yield f"critical relu, {depth}", lg.mlp(widths=[8] * (depth - 1), out=1, activation="relu", C="critical"), (4,)
        yield f"critical tanh, {depth}", lg.mlp(widths=[8] * (depth - 1), out=1, activation="tanh", C="critical"), (4,)
    yield "critical gelu", lg.mlp(widths=[8, 8], out=1, activation="gelu", C="critical"), (4,)
    yield "unequal", lg.mlp(widths=[4, 12], out=3, activation="erf", C_W=[1.0, 2.0, 0.5], C_b=[0.0, 0.3, 0.1]), (5,)
    yield "residual", lg.resnet_mlp(width=8, blocks=2, out=1, activation="relu", skip=0.8), (3,)
    yield "residual tanh", lg.resnet_mlp(width=8, blocks=2, out=1, activation="tanh", C_b=0.1), (3,)
    yield "normalised", lg.resnet_mlp(width=8, blocks=2, out=1, activation="gelu", norm=True), (3,)
    yield "layer norm", lg.Dense(8) >> lg.LayerNorm() >> lg.Act("relu") >> lg.Dense(2, C_W=2.0), (3,)
    yield "rms norm", lg.Dense(8, C_b=0.3) >> lg.RMSNorm() >> lg.Act("erf") >> lg.Dense(1), (3,)
    yield "concat", lg.Concat(lg.Dense(4), lg.Dense(8, C_W=2.0)) >> lg.Act("relu") >> lg.Dense(1), (3,)
    yield "product", lg.Dense(6) >> lg.Product(lg.Act("tanh"), lg.Identity()) >> lg.Dense(1), (3,)
    yield "sum", lg.Dense(6) >> lg.Sum(lg.Act("gelu"), lg.Identity(), weights=(0.5, 1.0)) >> lg.Dense(1), (3,)
    yield "repeat", lg.Dense(6) >> lg.Repeat(lg.Act("erf") >> lg.Dense(6, C_b=0.1), 3) >> lg.Act("erf") >> lg.Dense(1), (3,)
    yield "dropout", lg.Dense(6) >> lg.Act("relu") >> lg.Dropout(0.8) >> lg.Dense(1), (3,)
    yield "cnn", lg.cnn(channels=[4, 4], out=1, activation="relu", C_W=2.0, C_b=0.1), (5, 4, 2)
    yield "cnn tanh", lg.cnn(channels=[4], out=1, activation="tanh", C_W=1.5), (5, 4, 2)
    yield "pooled", lg.cnn(channels=[4, 4], out=1, activation="erf", pool=True), (5, 4, 2)
    windows = lg.Conv(4, 3) >> lg.Act("relu") >> lg.AvgPool((2, 2)) >> lg.Conv(4, 2, padding="VALID") >> lg.Act("gelu") >> lg.Flatten()
    yield "windows", windows >> lg.Dense(2), (6, 6, 1)
    yield "local", lg.ConvLocal(4, 3) >> lg.Act("relu") >> lg.Flatten() >> lg.Dense(1), (4, 4, 1)
    yield "transposed", lg.ConvTranspose(4, 3, strides=2) >> lg.Act("erf") >> lg.GlobalAvgPool() >> lg.Dense(1), (3, 3, 2)
    yield "resnet", lg.resnet(channels=[4, 4], blocks=1, out=1), (4, 4, 2)
    yield "attention", lg.transformer(width=8, blocks=1, out=1, heads=2, activation="relu"), (4, 3)


def numbers(found: Any, place: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every number of a result, by its place."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        for field in dataclasses.fields(found):
            yield from numbers(getattr(found, field.name, None), f"{place}.{field.name}")
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from numbers(value, f"{place}[{name}]")
    elif isinstance(found, (tuple, list)):
        for i, value in enumerate(found):
            yield from numbers(value, f"{place}[{i}]")
    elif isinstance(found, (bool, int, float, np.ndarray, np.generic, jax.Array)):
        array = np.asarray(found)
        if array.dtype.kind in "bifc":
            yield place, array


def stored(net: Any, X: Any) -> np.ndarray:
    """The digests of what a store holds of its kernels, chunk by chunk."""
    with tempfile.TemporaryDirectory() as folder:
        lg.gram(net, X, store=Path(folder) / "store")
        chunks = sorted(path for path in Path(folder).rglob("c/*") if path.is_file())
        chunks += sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.parent.parent.name == "c")
        whole = hashlib.sha256(b"".join(path.read_bytes() for path in chunks)).digest()
    return np.frombuffer(whole, np.uint8).astype(float)


def calls(net: Any, shape: Any) -> dict[str, Callable[[], Any]]:
    """Every public function that computes something of this network."""
    draw = np.random.RandomState(0)
    X, X_test = draw.randn(3, *shape), draw.randn(2, *shape)
    y = draw.randn(3, getattr(net, "width", None) or 1)[:, 0]
    params, many = FACE.init(net, shape, KEY, dtype=np.float64), FACE.init(net, shape, KEY, networks=3, dtype=np.float64)
    out = np.asarray(lg.apply(net, params, X)).shape[-1]
    y = draw.randn(3, out)
    found: dict[str, Callable[[], Any]] = {
        "dumps": lambda: [hash_of(lg.dumps(net)), hash_of(repr(net))],
        "init": lambda: params,
        "init networks": lambda: many,
        "apply": lambda: lg.apply(net, params, X),
        "each apply": lambda: each("apply", net, many, X),
        "train": lambda: lg.train(net, params, X, y, 0.05, 3),
        "empirical_ntk": lambda: lg.empirical_ntk(net, params, X),
        "empirical_ntk traced": lambda: lg.empirical_ntk(net, params, X, X_test, full=False),
        "kernel": lambda: lg.kernel(net, X),
        "kernel all": lambda: lg.kernel(net, X, layer="all"),
        "kernel rates": lambda: lg.kernel(net, X, X_test, rates=(1.0, 2.0)),
        "kernel 32": lambda: lg.kernel(net, X.astype("f4")),
        "gram": lambda: lg.gram(net, X, X_test),
        "gram 32": lambda: lg.gram(net, X.astype("f4")),
        "store": lambda: stored(net, X),
        "signal": lambda: lg.signal(net, X),
        "predict": lambda: (
            lg.predict(net, X, y, X_test, time=2.0, covariance="full") if FACE is lg else lg.predict(net, X, y, X_test, time=2.0)
        ),
        "predict bayes": lambda: lg.predict(net, X, y, X_test, how="bayes", ridge=0.1),
        "predict descent": lambda: lg.predict(net, X, y, X_test, how="descent", eta=0.05, steps=5),
        "predict newton": lambda: lg.predict(net, X, y, X_test, how="newton", eta=0.5, steps=5),
        "predict params": lambda: lg.predict(net, X, y, X_test, time=1.0, params=params),
        "sample": lambda: FACE.sample(net, X, KEY, draws=2),
        "evidence": lambda: FACE.bayes.evidence(net, X, y, ridge=0.1),
        "scan": lambda: FACE.bayes.scan(net, X, y, C_W=[0.5, 1.0], ridge=0.1),
        "representation_update": lambda: FACE.bayes.representation_update(net, X, y, ridge=0.1),
        "conditional_variance": lambda: FACE.bayes.conditional_variance(net, X, y[:, 0], ridge=0.1),
        "corrections": lambda: lg.corrections(net, X[:1]),
        "corrections of two": lambda: lg.corrections(net, X[:2], tensors=("V",)),
        "predict order": lambda: lg.predict(net, X[:1], y[:1], X_test[:1], how="bayes", ridge=0.1, order=1),
        "preactivations": lambda: FACE.measure.preactivations(net, params, X),
        "gradient_norms": lambda: FACE.measure.gradient_norms(net, params, X),
        "dntk": lambda: FACE.measure.dntk(net, params, X[:2]),
        "ddntk": lambda: FACE.measure.ddntk(net, params, X[:1]),
        "metric": lambda: each("metric", net, many, X),
        "perturbations": lambda: each("perturbations", net, many, X, KEY),
        "gradient_law": lambda: FACE.exact.gradient_law(net, X),
        "deep_linear": lambda: FACE.exact.deep_linear(net, X[:2]),
        "size_moments": lambda: FACE.exact.size_moments(net, X),
        "metric_chain": lambda: FACE.exact.metric_chain(net, X[:2], KEY, draws=10),
        "two_points": lambda: FACE.exact.two_points(net, X[0], X[1]),
        "chain": lambda: FACE.analysis.chain(net),
        "complexity": lambda: FACE.analysis.complexity(net, 10, 2, n_in=shape[0]),
        "contributions": lambda: FACE.analysis.contributions(net, X),
        "generalization": lambda: FACE.analysis.generalization(net, X, y[:, 0], X_test, np.ones(2), ridge=0.1),
        "robustness": lambda: FACE.analysis.robustness(net, X[0], X[1]),
        "information": lambda: FACE.analysis.information(net, X),
        "plan_rates": lambda: lg.plan_rates(net, X, n_in=shape[0]),
        "rates_of_sgd": lambda: lg.rates_of_sgd(net, 0.1, n_in=shape[0] if len(shape) == 1 else shape),
        "width": lambda: lg.width(net, X),
        "widen": lambda: hash_of(repr(lg.widen(net, 2))),
        "max_learning_rate": lambda: lg.max_learning_rate(lg.kernel(net, X).ntk),
    }
    phi = next((node.activation for node in net.nodes if isinstance(node, lg.Act)), None)
    if phi is not None and len(shape) == 1:
        found |= {
            "gain": lambda: lg.gain(phi),
            "critical": lambda: lg.critical(phi),
            "fixed_points": lambda: lg.fixed_points(phi, 1.3, 0.2),
            "phase_diagram": lambda: lg.phase_diagram(phi, [0.8, 1.2], [0.1, 0.2]),
            "asymptotics": lambda: FACE.analysis.asymptotics(phi),
            "scale_invariant_tensors": lambda: FACE.analysis.scale_invariant_tensors(phi, 3),
            "optimal_aspect_ratio": lambda: FACE.analysis.optimal_aspect_ratio(phi),
            "optimal_residual": lambda: FACE.analysis.optimal_residual(phi, 0.1),
            "angles": lambda: FACE.exact.angles(phi, [0.3, 0.4], 3),
        }
    return found


def hash_of(text: str) -> float:
    return float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]))


def write(path: Path) -> None:
    """One part a network; a part that is there is kept."""
    folder = path.with_suffix(".parts")
    folder.mkdir(parents=True, exist_ok=True)
    whole: dict[str, np.ndarray] = {}
    for count, (name, net, shape) in enumerate(networks(), 1):
        part = folder / f"{count}.npz"
        if not part.exists():
            start, found = time.process_time(), {}
            for call, thunk in calls(net, shape).items():
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        result = thunk()
                except LargenError as error:
                    found[f"{name}/{call}/refused {type(error).__name__}"] = np.zeros(0)
                except (AttributeError, TypeError, ValueError, RuntimeError) as error:
                    found[f"{name}/{call}/failed {type(error).__name__}"] = np.zeros(0)
                    print(f"{name}, {call}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
                else:
                    found |= {f"{name}/{call}/{place}": value for place, value in numbers(result)}
            np.savez(part, allow_pickle=False, **found)
            print(f"{count} {name}: {len(found)} arrays, {time.process_time() - start:.0f} s", file=sys.stderr, flush=True)
            jax.clear_caches()
        with np.load(part) as read:
            whole |= dict(read)
    np.savez(path, allow_pickle=False, **whole)


def distance(one: np.ndarray, two: np.ndarray) -> float:
    """The largest difference relative to the largest number; infinite where shapes or what is finite differ."""
    if one.shape != two.shape or not np.array_equal(np.isfinite(one), np.isfinite(two)):
        return float("inf")
    finite = np.isfinite(one)
    one, two = one[finite].astype(complex), two[finite].astype(complex)
    return float(np.abs(one - two).max(initial=0.0) / max(np.abs(one).max(initial=0.0), np.finfo(float).tiny))


def compare(before: Path, after: Path) -> None:
    """How many numbers are equal, and every place where they are not."""
    with np.load(before) as one, np.load(after) as two:
        places = set(one) & set(two)
        far = {place: distance(one[place], two[place]) for place in places}
        far = {place: value for place, value in far.items() if value > SAME}
        done = {tuple(place.split("/")[:2]) for place in places if one[place].size}
        print(f"{len({name for name, _ in done})} networks, {len({call for _, call in done})} functions, {len(done)} calls")
        print(
            f"{len(places)} arrays in both, {sum(one[p].size for p in places)} numbers; {len(places) - len(far)} arrays equal to {SAME:g}"
        )
        for place in sorted(far, key=lambda p: -far[p]):
            print(f"{far[place]:9.1e}  {place}")
        for label, left in (("before", set(one) - places), ("after", set(two) - places)):
            by_call: dict[str, int] = {}
            for place in left:
                _, call, rest = place.split("/", 2)
                by_call[f"{call}/{rest}"] = by_call.get(f"{call}/{rest}", 0) + 1
            print(f"only {label}:", *(f"{place} x {count}" for place, count in sorted(by_call.items())), sep="\n  ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("files", nargs="+", type=Path)
    asked = parser.parse_args()
    if asked.action == "write":
        write(*asked.files)
    else:
        compare(*asked.files)
