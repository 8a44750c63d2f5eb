"""One conversion for every argument: what is taken, from which library, and what is refused in a sentence."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen import door
from largen.errors import ECHO, InputError, UnsupportedError, cut, shown

X = np.random.RandomState(0).randn(3, 2)
Y = np.array([1.0, -1.0, 0.5])
NET = lg.mlp(widths=[3], out=1, activation="relu", C_W=2.0)
KEY = jax.random.key(0)


def deleted() -> jax.Array:
    out = jnp.ones((3, 2))
    out.delete()
    return out


def circular() -> list[Any]:
    out: list[Any] = [1.0]
    out.append(out)
    return out


def nested(depth: int) -> list[Any]:
    out: list[Any] = [1.0]
    for _ in range(depth):
        out = [out]
    return out


class Mute:
    """Neither an array nor printable."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("no array")


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a.tolist(),
        lambda a: tuple(map(tuple, a)),
        lambda a: a.astype(">f8"),
        lambda a: a.astype(np.longdouble),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, 1)[:, ::2],
        lambda a: np.ma.masked_array(a),
        lambda a: np.ma.masked_array(a, np.zeros(a.shape, bool)),
    ],
)
def test_numpy_in_any_form_is_float64(make: Any) -> None:
    out = door.array(make(X), "X")
    assert type(out) is np.ndarray and out.dtype == np.float64 and out.dtype.isnative
    np.testing.assert_array_equal(out, X)


def test_dtypes() -> None:
    assert door.array(X.astype(">f4"), "X").dtype == np.float32
    assert door.array(X.astype(np.float16), "X").dtype == np.float16
    assert door.array(np.asarray(X, jnp.bfloat16), "X").dtype == jnp.bfloat16
    assert door.array([[1, 2]], "X").dtype == door.array(X > 0, "X").dtype == jnp.result_type(float)
    assert isinstance(door.array(jnp.ones(2), "X"), jax.Array)
    with pytest.raises(InputError, match=r"float8_e4m3fn.*astype\('float32'\)"):
        door.array(np.asarray(X, jnp.float8_e4m3fn), "X")


@pytest.mark.parametrize(
    "value, told",
    [
        (np.ma.masked_array(X, X > 0), r"masked entries \(shape \(3, 2\)\).*`X.filled\(0.0\)`"),
        (KEY, "JAX random keys"),
        (jax.random.split(KEY, 3), "JAX random keys"),
        (deleted, "deleted or donated"),
        (circular, "a list that is no rectangular array"),
        (lambda: nested(3000), "a list that is no rectangular array"),
        ([[1.0], [1.0, 2.0]], "a list that is no rectangular array"),
        (Mute, "a Mute that is no rectangular array"),
        (X + 1j, "complex entries"),
        (X.astype(str), "entries of type <U"),
        (X.astype(object), "entries of type object"),
        ([[10**400]], "entries of type object"),
        (np.zeros(3, [("a", float)]), "not numbers"),
        (np.array(["2020-01-01"], "M8[D]"), "not numbers"),
        (None, "got None"),
        ("X", "got 'X'"),
        ({"a": 1}, "got {'a': 1}"),
        ("a" * 10**6, "got 'aaa"),
        (np.where(X > 0, X, np.nan), "entries that are NaN or infinite"),
        (np.array([[np.longdouble("1e400")]]), "1 entries that are NaN or infinite"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array(value: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        door.array(value() if callable(value) else value, "X")
    assert len(str(caught.value)) < 2.5 * ECHO


def test_lists_of_traced_values_are_arrays() -> None:
    slope = jax.grad(lambda a: door.array([[a, 1.0], [2.0, a]], "X").sum())(1.0)
    assert float(slope) == 2


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(X)
    for value in (tensor, tensor.clone().requires_grad_(), torch.nn.Parameter(tensor)):
        out = door.array(value, "X")
        assert type(out) is np.ndarray and out.dtype == np.float64
        np.testing.assert_array_equal(out, X)
    assert door.array(tensor.bfloat16(), "X").dtype == np.float32
    assert door.number(torch.tensor(0.5, requires_grad=True), "C_W") == 0.5
    assert door.count(torch.tensor(3), "n") == 3
    with pytest.raises(InputError, match=r"no NumPy form.*dense, on the CPU"):
        door.array(tensor.to_sparse(), "X")
    with pytest.raises(InputError, match=r"no NumPy form.*meta"):
        door.array(tensor.to("meta"), "X")
    with pytest.raises(InputError, match=r"integer labels .*lg.one_hot\(y\)"):
        door.targets(torch.tensor([0, 1, 1]), 3)


def test_torch_tensors_everywhere() -> None:
    torch = pytest.importorskip("torch")
    params = lg.init(NET, 2, KEY, dtype=np.float64)
    tensors = jax.tree_util.tree_map(lambda a: torch.tensor(np.asarray(a)), params)
    points, aims = torch.tensor(X, requires_grad=True), torch.tensor(Y, requires_grad=True)
    np.testing.assert_array_equal(lg.apply(NET, tensors, points), lg.apply(NET, params, X))
    out = lg.predict(NET, points, aims, torch.tensor(X + 1))
    assert isinstance(out.mean, np.ndarray)
    np.testing.assert_array_equal(out.mean, lg.predict(NET, X, Y, X + 1).mean)


def test_frames_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["height", "weight"])
    out = lg.kernel(NET, frame)
    assert isinstance(out.ntk, np.ndarray)
    np.testing.assert_array_equal(out.ntk, lg.kernel(NET, X).ntk)
    np.testing.assert_array_equal(lg.predict(NET, frame, pd.Series(Y), frame).mean, lg.predict(NET, X, Y, X).mean)
    twice = pd.DataFrame(np.ones((2, 2)), columns=["a", "a"])
    nullable = pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": pd.array([1.5, 2.5], "Float64"), "c": [True, False]})
    assert door.array(twice, "X").shape == (2, 2) and door.array(nullable, "X").dtype == np.float64
    bad = [
        (pd.DataFrame({"a": [1.0, 2.0], "name": ["x", "y"]}), r"`X\['name'\]`"),
        (pd.DataFrame({"a": [1.0, 2.0], "when": pd.to_datetime(["2020", "2021"])}), r"`X\['when'\]`"),
        (pd.DataFrame({"a": [1.0, np.nan]}), r"`X\['a'\]`: got 1 missing entries"),
        (pd.DataFrame({"n": pd.array([1, None], "Int64")}), r"`X\['n'\]`: got 1 missing entries"),
        (pd.DataFrame(), "without columns"),
    ]
    for value, told in bad:
        with pytest.raises(InputError, match=told):
            door.points(value)
    with pytest.raises(InputError, match=r"integer labels .*lg.one_hot\(y\)"):
        door.targets(pd.Series([0, 1, 1]), 3)
    with pytest.raises(InputError, match=r"class names, such as 'cat'.*np.unique\(y, return_inverse=True\)"):
        door.targets(pd.Series(["cat", "dog", "cat"]), 3)


def test_frames_of_polars() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(X, schema=["height", "weight"])
    np.testing.assert_array_equal(lg.kernel(NET, frame).ntk, lg.kernel(NET, X).ntk)
    np.testing.assert_array_equal(lg.predict(NET, frame, pl.Series(Y), frame).mean, lg.predict(NET, X, Y, X).mean)
    with pytest.raises(InputError, match=r"`X\['name'\]`"):
        door.points(pl.DataFrame({"a": [1.0, 2.0], "name": ["x", "y"]}))
    with pytest.raises(InputError, match=r"`X\['n'\]`: got 1 missing entries"):
        door.points(pl.DataFrame({"n": [1, None]}))
    with pytest.raises(InputError, match="integer labels"):
        door.targets(pl.Series([0, 1, 1]), 3)


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, 1],
        (1, 0, 1),
        [[1], [0], [1]],
        [np.int64(1), np.int64(0), np.int64(1)],
        [[np.int8(1)], [0], [True]],
        [True, False, True],
        np.array([1, 0, 1], object),
        np.array([1, 0, 1], np.uint8),
        np.array([True, False, True]),
        np.array([1, 0, 1], ">i4"),
        jnp.array([1, 0, 1]),
        range(3),
    ],
)
def test_integer_labels_are_no_real_targets(labels: Any) -> None:
    with pytest.raises(InputError, match=r"`y`: got integer labels .*lg.one_hot\(y\)"):
        lg.predict(NET, X, labels, X)


def test_class_names_are_numbered_by_the_fix_that_is_told() -> None:
    y = np.array(["cat", "dog", "cat"])
    for names in (y, y.tolist(), y.astype(object), [[v] for v in y.tolist()]):
        with pytest.raises(InputError) as caught:
            lg.predict(NET, X, names, X)
        assert caught.value.fix == "Number the classes: `lg.one_hot(np.unique(y, return_inverse=True)[1])`."
    assert eval(re.findall("`(.*?)`", caught.value.fix)[0], {"lg": lg, "np": np, "y": y}).shape == (3, 2)


def test_labels_of_one_hot_come_in_any_container() -> None:
    wanted = lg.one_hot([0, 2, 1])
    labels = np.array([0, 2, 1])
    for y in (labels, labels.astype(">i2"), jnp.asarray(labels), labels.tolist(), np.ma.masked_array(labels)):
        np.testing.assert_array_equal(lg.one_hot(y), wanted)
    with pytest.raises(InputError, match="1 masked entries"):
        lg.one_hot(np.ma.masked_array(labels, labels > 1))
    with pytest.raises(InputError, match=r"np.unique"):
        lg.one_hot(["cat", "dog"])


# ---------------------------------------------------------------- numbers, counts, choices


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int8(2), np.array(2.0), Fraction(2), Decimal("2"), np.longdouble(2)])
def test_numbers(value: Any) -> None:
    out = door.number(value, "C_W")
    assert type(out) is float and out == 2
    assert door.count(value, "n") == 2


@pytest.mark.parametrize(
    "value",
    [
        *(np.complex64(2 + 3j), 2 + 3j, b"2", "2", bytearray(b"2"), np.array("2"), np.array(b"2"), True, np.True_, None, 10**400, 10**5000),
        *(
            np.nan,
            np.inf,
            Fraction(10**400),
            {},
            {"a": 1},
            [2.0],
            np.array([2.0]),
            np.ma.masked,
            circular(),
            KEY,
            Mute(),
            np.array(2, object),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_numbers(value: Any) -> None:
    for call in (
        lambda: door.number(value, "C_W"),
        lambda: door.count(value, "width"),
        lambda: lg.Dense(2, C_W=value),
        lambda: lg.Dense(value),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert len(str(caught.value)) < 2.5 * ECHO


def test_counts() -> None:
    for value in (1.5, 0, -1, 2**63, 1e300):
        with pytest.raises(InputError, match="an integer >= 1"):
            door.count(value, "n")
    assert door.counts(np.array([2, 3]), "widths", "") == door.counts(range(2, 4), "widths", "") == (2, 3)
    wrong: list[Any] = [3, "23", b"23", {2, 3}, {2: 3}, (v for v in (2, 3)), np.ones((2, 2))]
    for value in wrong:
        with pytest.raises(InputError, match="`widths`"):
            lg.mlp(widths=value)


@pytest.mark.parametrize("value", [np.array(["flow"]), np.array([1, 2]), ["flow"], {}, None, 3, b"flow", KEY])
def test_choices(value: Any) -> None:
    with pytest.raises(InputError, match=r"`how`.*one of 'flow'"):
        lg.predict(NET, X, Y, X, how=value)
    with pytest.raises(InputError, match=r"`loss`.*one of 'mse'"):
        lg.train(NET, lg.init(NET, 2, KEY), X, Y, 0.1, 1, loss=value)


@pytest.mark.parametrize("value", [3, None.__class__, np.ones(2), np.ones((2, 2)), "V", b"V", {"V": 1}, [np.ones(2)], ["v"], [[]]])
def test_names(value: Any) -> None:
    with pytest.raises(InputError, match="`tensors`"):
        lg.corrections(NET, X, tensors=value)
    with pytest.raises(InputError, match="`vary`"):
        lg.bayes.fit(NET, X, Y, vary=value)


@pytest.mark.parametrize("value", [np.ones(2), [1], "1", 2, 0.5, True, None, {}])
def test_orders_and_flags(value: Any) -> None:
    with pytest.raises(InputError, match="`order`"):
        lg.predict(NET, X, Y, X, order=value)
    if value is not True:
        with pytest.raises(InputError, match=r"`full`.*True or False"):
            lg.empirical_ntk(NET, lg.init(NET, 2, KEY), X, full=value)


@pytest.mark.parametrize(
    "value",
    [0, None, "0", 1.5, np.array([0, 1]), np.zeros(7, np.uint32), np.zeros((2, 2), np.uint32), jax.random.split(KEY), jnp.ones(2), []],
)
def test_keys(value: Any) -> None:
    with pytest.raises(InputError, match=r"`key`.*jax.random.key\(0\)"):
        lg.init(NET, 2, value)
    with pytest.raises(InputError, match=r"`key`.*jax.random.key\(0\)"):
        lg.sample(NET, X, value)


def test_both_kinds_of_keys() -> None:
    old = jax.random.PRNGKey(3)
    for key in (jax.random.key(3), old, np.asarray(old)):
        np.testing.assert_array_equal(lg.init(NET, 2, key)["dense1"]["W"], lg.init(NET, 2, old)["dense1"]["W"])


@pytest.mark.parametrize("value", ["float8_e4m3fn", "f8,i4", np.longdouble, "a", 3, {"a": 1}, np.ones(2), int, complex, "S3", object])
def test_dtypes_of_results(value: Any) -> None:
    for call in (lambda: lg.init(NET, 2, KEY, dtype=value), lambda: lg.gram(NET, X, dtype=value)):
        with pytest.raises(InputError, match=r"`dtype`.*a real floating dtype"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda t: lg.exact.angles("relu", t, 3),
        lambda t: lg.critical("tanh") and lg.gain("relu", t),
        lambda t: lg.fixed_points("relu", t, 0.1),
        lambda t: lg.phase_diagram("relu", t[None], 0.1),
        lambda t: lg.rates_of_sgd(NET, t, 2),
        lambda t: lg.analysis.asymptotics("relu", t),
        lambda t: lg.plan_rates(NET, bias=t),
        lambda t: lg.mlp(widths=[t]),
        lambda t: lg.dumps(lg.Dense(2, C_W=t)),
        lambda t: lg.bayes.fit(NET, X, Y * t),
        lambda t: lg.bayes.conditional_variance(NET, X * t, Y),
        lambda t: lg.exact.size_moments(NET, X[:1] * t),
        lambda t: lg.analysis.robustness(NET, X[0] * t, X[1]),
        lambda t: lg.analysis.generalization(NET, X, Y * t, X, Y),
        lambda t: lg.analysis.information(NET, X * t),
        lambda t: lg.widen(NET, t),
        lambda t: lg.activation(jnp.tanh, kinks=(t,)),
        lambda t: lg.exact.neuron_covariance(jnp.tanh, jnp.tanh, t * np.eye(2), np.zeros((2,) * 4), 3),
    ],
)
def test_traced_values_are_refused_where_none_are_taken(call: Any) -> None:
    with pytest.raises((InputError, UnsupportedError), match=r"outside jit|not inside jit"):
        jax.jit(lambda t: (call(t), None)[1])(1.0)


# ---------------------------------------------------------------- networks, parameters, text, activations


@pytest.mark.parametrize(
    "net, told",
    [
        ("mlp", "got a str"),
        (lg.Dense, "got the class Dense"),
        ([lg.Dense(2), lg.Dense(1)], "got a list"),
        (jax.tree_util.tree_map(lambda _: np.nan, NET), "got nan"),
        (jax.tree_util.tree_map(lambda _: "a", NET), "got 'a'"),
        (jax.tree_util.tree_map(lambda _: np.ones(2), NET), "got array"),
    ],
)
def test_what_is_no_network(net: Any, told: str) -> None:
    for call in (lambda: lg.kernel(net, X), lambda: lg.init(net, 2, KEY), lambda: lg.dumps(net)):
        with pytest.raises(InputError, match=f"`net.*{told}"):
            call()


def test_parameters_that_do_not_fit() -> None:
    params = lg.init(NET, 2, KEY)
    one = params["dense1"]
    cases = [
        ({**params, "dense3": one}, "`params`: got the paths"),
        ({1: one}, "`params`: got the paths 1"),
        ({**params, "dense1": 3}, r"`params\['dense1'\]`"),
        ({**params, "dense1": {**one, "W": one["W"].T}}, r"`params\['dense1'\]\['W'\]`: got shape \(3, 2\)"),
        ({**params, "dense1": {**one, "W": one["W"] * np.nan}}, r"`params\['dense1'\]\['W'\]`: got 6 entries that are NaN"),
        ({**params, "dense1": {**one, "b": [0.0] * 3}}, r"`params\['dense1'\]\['b'\]`: got a list"),
        ({**params, "dense1": {**one, "b": np.zeros(3, int)}}, "entries of type int"),
        (circular(), "`params`: got a list"),
    ]
    for given, told in cases:
        with pytest.raises(InputError, match=told):
            lg.apply(NET, given, X)
        with pytest.raises(InputError, match="`params"):
            lg.each(lg.apply, NET, given, X)
        with pytest.raises(InputError, match="`params"):
            lg.predict(NET, X, Y, X, params=given)


def of_depth(depth: int) -> str:
    node = '{"node": "Identity"}'
    for _ in range(depth):
        node = '{"node": "Sum", "branches": [[' + node + '], [{"node": "Identity"}]], "weights": [1, 1]}'
    return '{"format": "largen-network", "version": 1, "nodes": [' + node + "]}"


@pytest.mark.parametrize(
    "text",
    [
        '{"format": ' + "9" * 5000 + "}",
        "format = " + "9" * 5000,
        of_depth(400),
        "[" * 10**5,
        '{"a": ' * 10**5,
        "a = " + "[" * 10**5,
        "{" + "a" * 10**6,
        '{"format": "largen-network", "version": 1, "nodes": [{"node": "Act", "activation": "leaky_relu(nan)"}]}',
        '{"format": "largen-network", "version": 1, "nodes": [{"node": "Act", "activation": "polynomial(9**9**9)"}]}',
        '{"format": "largen-network", "version": 1, "nodes": [{"node": "Act", "activation": ["relu"]}]}',
        '{"format": "largen-network", "version": 1, "nodes": [{"node": "Act", "activation": {}}]}',
        '{"format": "largen-network", "version": 1, "nodes": [{"node": "Dense", "width": 1e999}]}',
        '{"format": "largen-network", "version": 1, "nodes": [{"node": "Dense", "width": 3, "C_W": NaN}]}',
        '{"format": "largen-network", "version": 1, "nodes": [{"node": ["Dense"]}]}',
        '{"format": "largen-network", "version": 1, "nodes": [{"node": "Sum", "branches": [[]], "weights": 1}]}',
        '{"format": "largen-network", "version": 1, "nodes": []}',
        '{"format": {}, "version": []}',
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_text_that_is_no_network(text: str) -> None:
    with pytest.raises(InputError) as caught:
        lg.loads(text)
    assert len(str(caught.value)) < 3 * ECHO


def test_branches_inside_branches() -> None:
    assert lg.loads(of_depth(40)) == lg.loads(lg.dumps(lg.loads(of_depth(40))))
    net: Any = lg.Identity()
    with pytest.raises(InputError, match="branches inside branches, 51 deep; needed at most 50"):
        for _ in range(100):
            net = lg.Sum(lg.Identity(), net)


@pytest.mark.parametrize(
    "name",
    [
        "leaky_relu(nan)",
        "leaky_relu(1e999)",
        "leaky_relu(1+2j)",
        "leaky_relu('a')",
        "leaky_relu(True)",
        "polynomial(9**9**9)",
        "polynomial((1,))",
        "polynomial(" + "(" * 2000,
        "polynomial(" + "1," * 10**6 + ")",
        "relu\x00",
        "leaky_relu(\x00)",
        "monomial(10000000)",
        "leaky_relu(" + "9" * 5000 + ")",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_names_of_activations(name: str) -> None:
    with pytest.raises(InputError) as caught:
        lg.activation(name)
    assert len(str(caught.value)) < 3 * ECHO + 400  # the list of all names


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, z: Any) -> Any:
        return z


@pytest.mark.parametrize(
    "fn, kinks, told",
    [
        (lambda z: z > 0, (0.0,), r"returns booleans.*jnp.where\(z > 0, 1.0, 0.0\)"),
        (lambda z: z.astype(int), (), "returns entries of type int"),
        (lambda z: z + 1j, (), "returns entries of type complex"),
        (np.tanh, (), r"computes with NumPy \(tanh\).*jnp.tanh for np.tanh"),
        (lambda z: np.tanh(z), (), "computes with NumPy"),
        (lambda z: jnp.sqrt(jnp.abs(z)), (), r"slope grows without bound at z = .*mean of phi'\(z\)\^2 is infinite"),
        (lambda z: jnp.abs(z - 0.3) ** 0.4, (), "slope grows without bound at z = 0.3"),
        (lambda z: jnp.cbrt(z), (0.0,), "slope grows without bound"),
        (Unhashable(), (), "without a hash"),
        (jnp.tanh, (np.nan,), "kinks"),
        (jnp.tanh, ("a",), "kinks"),
        (jnp.tanh, b"2", "kinks"),
        (jnp.tanh, {"a": 1}, "kinks"),
    ],
)
def test_callables_that_are_no_activations(fn: Any, kinks: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        lg.activation(fn, kinks=kinks)


@pytest.mark.parametrize("power", [0.51, 0.75])
def test_slopes_that_are_infinite_but_square_integrable_are_taken(power: float) -> None:
    kinks: Any = np.array([0.0])
    assert lg.activation(lambda z: jnp.abs(z) ** power, kinks=kinks).kinks == (0.0,)
    assert lg.activation(lambda z: jnp.tanh(1e3 * z)).kinks == ()


def test_the_name_that_is_suggested_can_be_taken() -> None:
    for fn in (lambda z: z / 2, jax.nn.relu):
        with pytest.raises(InputError) as caught:
            lg.dumps(lg.Act(fn))
        (name,) = re.findall("name='(.*?)'", caught.value.fix)
        assert name == "my_activation"


# ---------------------------------------------------------------- messages


def test_what_is_shown_is_short() -> None:
    assert shown("a") == "'a'" and shown([1, 2.5]) == "[1, 2.5]" and shown(None) == "None"
    for value in (
        "a" * 10**6,
        list(range(10**5)),
        {i: i for i in range(1000)},
        np.ones((50, 50)),
        circular(),
        nested(100),
        Mute(),
        10**5000,
    ):
        assert len(shown(value)) <= ECHO + 10
    assert cut("a" * 1000).startswith("aaa") and len(cut("a" * 1000)) <= ECHO
    assert len(str(InputError("C_W", "x" * 10**6, "a number"))) < ECHO + 50
