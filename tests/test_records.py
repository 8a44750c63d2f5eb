"""Every result record is built by keyword, prints on a screen, shows itself in a notebook, and gives its rows and columns."""

import builtins
import dataclasses
import math
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.architecture.nodes import Node
from largen.display import LINES, WIDTH, Record, grid

X, Y = np.array([[1.0, -0.5], [0.3, 0.9], [-0.7, 0.4]]), np.array([1.0, -1.0, 0.5])
KEY = jax.random.key(0)
RELU, TANH = (lg.mlp([8, 8], 2, name, C="critical") for name in ("relu", "tanh"))
MUP = lg.Parametrization.mup(hidden=2)
ONE = lg.mlp([4], 1, "tanh")
LINEAR = lg.mlp([8, 8], 1, "linear")


def check() -> Any:
    return lg.check(lg.mlp([4], 1, "erf", C_b=0.1), X[:1], what="tensors", networks=20, key=KEY)


def initialised() -> Any:
    nn = pytest.importorskip("flax.linen")
    module = nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(1)])
    return lg.flax.table(module, module.init(KEY, np.ones((1, 2))), activation="tanh")


def quadratic() -> Any:
    rng = np.random.default_rng(0)
    model = lg.analysis.QuadraticModel(rng.normal(size=(3, 5)), rng.normal(size=(3, 5, 5)), 0.2)
    return lg.analysis.nearly_kernel(model.kernel(), model.meta_kernel(), [0.5, -1.0], "flow")


def params(net: Any, networks: int | None = None) -> Any:
    return lg.init(net, 2, KEY, networks=networks)


def made(name: str) -> Any:
    return EXAMPLES[name][0]()


# a small call that makes the record, and the columns of its table
EXAMPLES: dict[str, tuple[Callable[[], Any], str]] = {
    "Critical": (lambda: lg.critical("gelu"), "universality C_b C_W K_star stable_from onset neighbour"),
    "CriticalPoint": (lambda: lg.critical("tanh").candidates[0], "universality C_b C_W K_star stable_from onset neighbour"),
    "Growth": (lambda: lg.critical("tanh").candidates[0].growth["K"], "power coefficient"),
    "Initialisation": (initialised, "name activation fan_in C_W C_b std note"),
    "InitialisedLayer": (lambda: initialised().layers[0], "name activation fan_in C_W C_b std note"),
    "Claim": (lambda: check().claims[0], "kind name layer step theory intercept error z worst exponent verdict"),
    "Check": (check, "kind name layer step theory intercept error z worst exponent verdict"),
    "Entries": (lambda: check().entries["V"], "i j k l theory value error"),
    "SecondTangents": (lambda: lg.measure.ddntk(ONE, params(ONE), X[:2]), "x1 x2 x3 x4 i1 i2 i3 i4 first second"),
    "Metric": (lambda: lg.measure.metric(ONE, params(ONE), X), "i j metric"),
    "Tensors": (lambda: lg.each(lg.measure.tensors, ONE, params(ONE, 3), X[:2]), "network i j K Theta V D F A B"),
    "Perturbations": (lambda: lg.measure.perturbations(ONE, params(ONE), X, KEY), "level point size parallel perpendicular"),
    "Classification": (lambda: MUP.classify(), "regime r readout readout_starts_maximal first_unstable theorem"),
    "Condition": (lambda: lg.Parametrization.glorot(2).classify().violated[0], "name found needed holds"),
    "Demand": (lambda: MUP.desiderata()[0], "name sentence met"),
    "Sizes": (lambda: MUP.exponents(1), "layer preactivation update move"),
    "Effective": (lambda: MUP.effective(), "layer std rate"),
    "Picture": (lambda: lg.scaling.picture("stable"), "x y regime"),
    "RichnessSweep": (
        lambda: lg.scaling.richness_sweep(ONE, X, Y, [0.5, 1.0], networks=2, steps=1),
        "gamma gammas moves moves_se kernels kernels_se loss",
    ),
    "Derivation": (lambda: lg.scaling.derive(1), "exponent least largest"),
    "History": (lambda: lg.train(ONE, params(ONE), X, Y, eta=0.1, steps=2)[1], "step loss time"),
    "NearlyKernel": (quadratic, "point mean linear"),
    "Evidence": (lambda: lg.bayes.evidence(ONE, X, Y, ridge=0.1), "log fit complexity constant finite_width order spread"),
    "Fit": (lambda: lg.bayes.fit(lg.mlp([4], 1, "relu"), X, Y, ridge=0.1), "name place value error"),
    "RepresentationUpdate": (lambda: lg.bayes.representation_update(ONE, X, Y, ridge=0.1), "i j change prior"),
    "EvidenceScan": (lambda: lg.bayes.scan(ONE, X, Y, [1.0, 2.0], [0.0, 0.1], ridge=0.1), "depth C_b C_W log"),
    "Prediction": (lambda: lg.predict(ONE, X, Y, X, time=1.0), "point mean std"),
    "AspectRatio": (
        lambda: lg.analysis.optimal_aspect_ratio("tanh"),
        "r nu universality n_out residual information C_W C_b",
    ),
    "Asymptotics": (lambda: lg.analysis.asymptotics("tanh"), "of name power coefficient"),
    "ScaleInvariantTensors": (lambda: lg.analysis.scale_invariant_tensors("relu", 3), "K Theta V D F A B P Q R S T U"),
    "Complexity": (lambda: lg.analysis.complexity(RELU, 2), "infinite finite parameters"),
    "Contributions": (lambda: lg.analysis.contributions(RELU, X), "path lambda_b lambda_W bias weight bias_share weight_share"),
    "Depth": (lambda: lg.how_deep("tanh", 64), "criterion layers meaning"),
    "Explanation": (lambda: lg.explain(RELU), "path node positions layout asked_by operations bytes least"),
    "Generalization": (lambda: lg.analysis.generalization(ONE, X, Y, X + 0.1, Y), "point bias_at variance_at"),
    "Robustness": (lambda: lg.analysis.robustness(ONE, X[0], X[1]), "robustness variance cosine curvature"),
    "Amounts": (lambda: lg.analysis.information(RELU, X[:1]).infinite, "group entropy"),
    "Information": (lambda: lg.analysis.information(RELU, X[:1]), "how mutual mutual_se tripartite tripartite_se"),
    "RatePlan": (lambda: lg.plan_rates(RELU), "path rate_b rate_W sgd_b sgd_W"),
    "Width": (lambda: lg.width(ONE, X), "observable relative needed"),
    "Corrections": (lambda: lg.corrections(TANH, X, tensors=("K", "V", "K1")), "i j K K1 V"),
    "Couplings": (lambda: lg.exact.couplings(np.eye(2), np.ones((2,) * 4), np.eye(2), 9), "i j quadratic covariance"),
    "Running": (lambda: lg.exact.running(np.arange(64) / 20), "exponent kind"),
    "GradientLaw": (
        lambda: lg.exact.gradient_law(RELU),
        "layer mean_square mean typical log_variance dead square_variance total_variance ratio",
    ),
    "DeepLinear": (lambda: lg.exact.deep_linear(LINEAR, X), "layer i j moments cumulants moments 2 cumulants 2"),
    "SizeMoments": (lambda: lg.exact.size_moments(RELU, X[:1]), "layer K kurtosis norm_variance dead log_mean log_variance ratio"),
    "Kernel": (lambda: lg.kernel(RELU, X), "i j nngp ntk"),
    "FixedPoints": (lambda: lg.fixed_points("tanh", 2.0, 0.1), "point K stable chi_par chi_perp c xi_q xi_c"),
    "PhaseDiagram": (lambda: lg.phase_diagram("relu", [1.0, 2.0], [0.0, 0.1, 0.2]), "C_W C_b K chi_par chi_perp c xi_q xi_c phase"),
    "Signal": (lambda: lg.signal(RELU, X), "level point q chi_par chi_perp gradient"),
    "TwoPoints": (lambda: lg.exact.two_points(TANH, X[0], X[1]), "level K0 K1 K2 K00 dK1 ddK2 chi_par chi_perp h"),
    "Angles": (lambda: lg.exact.angles("relu", math.pi / 2, layers=3), "layer psi"),
}
EXAMPLES = {name: (cache(make), columns) for name, (make, columns) in EXAMPLES.items()}
VOID = ("br", "hr")


class Well(HTMLParser):
    """Takes the tags apart; fails where one closes that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def read(text: str) -> Well:
    page = Well()
    page.feed(text)
    page.close()
    assert not page.open and page.cells
    return page


def test_every_record_has_an_example() -> None:
    assert set(EXAMPLES) == set(lg.records.__all__)


@pytest.mark.parametrize("name", lg.records.__all__)
def test_a_record_is_frozen_and_built_by_keyword(name: str) -> None:
    kind = getattr(lg.records, name)
    assert issubclass(kind, Record) and all(part.kw_only for part in dataclasses.fields(kind))
    record = made(name)
    assert type(record) is kind
    values = [getattr(record, part.name) for part in dataclasses.fields(kind)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(kind)[0].name, None)
    with pytest.raises(TypeError, match="positional"):
        kind(*values)


@pytest.mark.parametrize("name", lg.records.__all__)
def test_a_record_prints_on_a_screen(name: str) -> None:
    record = made(name)
    text = str(record)
    assert 0 < sum(math.ceil(len(line) / WIDTH) or 1 for line in text.splitlines()) <= LINES, text
    if type(record).__repr__ is Record.__repr__ and type(record).__str__ is object.__str__:
        assert text.splitlines()[0] == name and all(len(line) <= WIDTH for line in text.splitlines())
        reasons = getattr(record, "missing", {})
        assert not reasons or "missing" in text


@pytest.mark.parametrize("name", lg.records.__all__)
def test_a_record_is_a_table_in_a_notebook(name: str) -> None:
    assert name in read(made(name)._repr_html_()).cells


@pytest.mark.parametrize("name", lg.records.__all__)
def test_a_record_gives_its_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record, columns = made(name), EXAMPLES[name][1]
    plain = record._columns()
    assert " ".join(plain) == columns and len({len(column) for column in plain.values()}) == 1 and len(next(iter(plain.values())))
    pandas = pytest.importorskip("pandas")
    frame = record.to_frame()
    assert isinstance(frame, pandas.DataFrame) and list(frame) == list(plain)
    monkeypatch.setattr(builtins, "__import__", without("pandas"))
    bare = record.to_frame()
    assert type(bare) is dict and all(isinstance(column, np.ndarray) for column in bare.values())


def without(library: str) -> Callable[..., Any]:
    known = builtins.__import__

    def importing(name: str, *rest: Any) -> Any:
        if name == library:
            raise ImportError(name)
        return known(name, *rest)

    return importing


@pytest.mark.parametrize(
    "name", [n for n in lg.records.__all__ if n in ("Kernel", "Signal", "Metric", "Tensors", "Perturbations", "History")]
)
def test_pytrees_survive_jax(name: str) -> None:
    record = made(name)
    leaves, tree = jax.tree_util.tree_flatten(record)
    again = jax.tree_util.tree_unflatten(tree, leaves)
    assert type(again) is type(record) and leaves and str(again) == str(record)
    twice = jax.jit(lambda r: jax.tree_util.tree_map(lambda a: 2 * a, r))(record)
    assert type(twice) is type(record)
    jax.jit(lambda r: str(r) and r)(record)  # traced records print too


def test_rows_hold_the_numbers() -> None:
    kernel, signal = made("Kernel"), made("Signal")
    rows = kernel._columns()
    assert [rows["ntk"][k] for k in range(9)] == [kernel.ntk[i, j] for i, j in zip(rows["i"], rows["j"], strict=True)]
    layers = lg.kernel(RELU, X, layer="all")._columns()
    assert next(iter(layers)) == "layer" and set(layers["layer"]) == {1, 2, 3}
    rows = signal._columns()
    last = rows["level"] == len(signal.q)
    assert np.isnan(rows["chi_perp"][last]).all() and np.array_equal(rows["chi_perp"][~last], signal.chi_perp.ravel())
    many = lg.each(lg.measure.perturbations, ONE, params(ONE, 2), X, KEY)._columns()
    assert list(many)[:3] == ["network", "level", "point"] and set(many["network"]) == {0, 1}
    corrections = made("Corrections")
    assert corrections._columns()["V"][1] == corrections.V[0, 0, 1, 1]
    times = lg.predict(ONE, X, Y[:, None], X, time=np.array([0.5, 1.0]))._columns()
    assert list(times) == ["time", "point", "output", "mean", "std"] and len(times["mean"]) == 6


def test_large_records_fit_a_screen() -> None:
    words = tuple(f"Sentence {k} of a long answer, {'with many words ' * 5}." for k in range(40))
    width = dataclasses.replace(made("Width"), sentences=words, relative={f"<{k}>": 1 / (k + 1) for k in range(100)})
    lines = str(width).splitlines()
    assert len(lines) == LINES and all(len(line) <= WIDTH for line in lines) and "lines more" in lines[-1]
    assert "<0>" not in width._repr_html_() and any("<0>" in cell for cell in read(width._repr_html_()).cells)
    reasons = {f"field {k}": f"reason {k}" for k in range(30)}
    lines = str(dataclasses.replace(made("Corrections"), missing=reasons)).splitlines()
    assert len(lines) <= LINES and ".missing" in lines[-1]


NETS = [RELU, lg.Dense(3), lg.resnet_mlp(4, 1, activation="relu"), lg.Conv(3, 2) >> lg.Flatten() >> lg.Dense(1)]


@pytest.mark.parametrize("net", NETS, ids=lambda net: type(net).__name__)
def test_networks_are_tables_of_their_nodes(net: Node) -> None:
    page = read(net._repr_html_())
    assert page.cells[:5] == ["path", "node", "width", "C_W", "C_b"] and any(cell in ("dense1", "conv1") for cell in page.cells)


def test_grids_repeat_and_end_in_nan() -> None:
    found = grid(("i", "j"), a=np.ones((2, 3)), b=np.arange(3), c=None)
    assert list(found) == ["i", "j", "a", "b"] and list(found["b"]) == [0, 1, 2, 0, 1, 2]
