"""Programs in NumPy against the same ones compiled: every primitive, indexing, loops; and which way is taken."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import lax
from jax.scipy import special

from largen.running.evaluate import CALLS, LOOPS, TABLE
from largen.running.jitted import Jitted, jitted
from largen.running.primitives import FEW
from largen.types import island

RNG = np.random.default_rng(0)
A, B, U = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), RNG.uniform(0.1, 0.9, size=(3, 4))
I, J = RNG.integers(-9, 9, size=(3, 4)).astype(np.int32), RNG.integers(1, 5, size=(3, 4)).astype(np.int32)
T = RNG.normal(size=(2, 3, 4))

SAME: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "abs": (jnp.abs, (A,)),
    "acos": (lax.acos, (U,)),
    "acosh": (lax.acosh, (1 + U,)),
    "add": (lax.add, (A, B)),
    "add_any": (lambda x, y: jax.vjp(lambda z: (jnp.sin(z), jnp.cos(z)), x)[1]((y, y))[0], (A, B)),
    "and": (lambda x, y: lax.bitwise_and(x > 0, y > 0), (A, B)),
    "asin": (lax.asin, (U,)),
    "asinh": (lax.asinh, (A,)),
    "atan": (lax.atan, (A,)),
    "atan2": (lax.atan2, (A, B)),
    "atanh": (lax.atanh, (U,)),
    "cbrt": (lax.cbrt, (A,)),
    "ceil": (lax.ceil, (A,)),
    "clamp": (lambda x: lax.clamp(-0.5, x, 0.5), (A,)),
    "copy": (jnp.copy, (A,)),
    "cos": (lax.cos, (A,)),
    "cosh": (lax.cosh, (A,)),
    "digamma": (special.digamma, (U,)),
    "div": (lambda x, y, i, j: (x / y, lax.div(i, j)), (A, B, I, J)),
    "eq": (lambda i, j: i == j, (I, J)),
    "erf": (special.erf, (A,)),
    "erf_inv": (special.erfinv, (U,)),
    "erfc": (special.erfc, (A,)),
    "exp": (lax.exp, (A,)),
    "exp2": (lax.exp2, (A,)),
    "expm1": (lax.expm1, (A,)),
    "floor": (lax.floor, (A,)),
    "ge": (lambda x, y: x >= y, (I, J)),
    "gt": (lambda x, y: x > y, (I, J)),
    "is_finite": (lambda x: lax.is_finite(x / (x > 0)), (A,)),
    "le": (lambda x, y: x <= y, (I, J)),
    "lgamma": (special.gammaln, (U,)),
    "log": (lax.log, (U,)),
    "log1p": (lax.log1p, (U,)),
    "logistic": (lax.logistic, (A,)),
    "lt": (lambda x, y: x < y, (I, J)),
    "max": (lambda x, y: lax.max(x, y), (A, B)),
    "min": (lambda x, y: lax.min(x, y), (A, B)),
    "mul": (lax.mul, (A, B)),
    "ne": (lambda x, y: x != y, (I, J)),
    "neg": (lax.neg, (A,)),
    "nextafter": (lax.nextafter, (A, B)),
    "one_minus_square": (jax.grad(lambda x: jnp.tanh(x).sum()), (A,)),
    "not": (lambda x, i: (lax.bitwise_not(x > 0), lax.bitwise_not(i)), (A, I)),
    "or": (lambda i, j: lax.bitwise_or(i, j), (I, J)),
    "pow": (lambda x, y, j: (x**y, x**j), (U, A, J)),
    "rem": (lambda x, y, i, j: (lax.rem(x, y), lax.rem(i, j)), (A, B, I, J)),
    "rsqrt": (lax.rsqrt, (U,)),
    "select_n": (lambda i, x, y: (lax.select_n(i % 3, x, y, x + y), jnp.where(x > 0, x, y)), (J, A, B)),
    "shift_left": (lax.shift_left, (I, J)),
    "shift_right_arithmetic": (lax.shift_right_arithmetic, (I, J)),
    "shift_right_logical": (lax.shift_right_logical, (I, J)),
    "sign": (lax.sign, (A,)),
    "sin": (lax.sin, (A,)),
    "sinh": (lax.sinh, (A,)),
    "sqrt": (lax.sqrt, (U,)),
    "square": (lax.square, (A,)),
    "stop_gradient": (lax.stop_gradient, (A,)),
    "sub": (lax.sub, (A, B)),
    "tan": (lax.tan, (A,)),
    "tanh": (lax.tanh, (A,)),
    "xor": (lax.bitwise_xor, (I, J)),
    "argmax": (lambda x: (jnp.argmax(x, 1), jnp.argmax(x)), (A,)),
    "argmin": (lambda x: jnp.argmin(x, 0), (A,)),
    "bitcast_convert_type": (lambda x: lax.bitcast_convert_type(x, np.int64 if x.dtype == np.float64 else np.int32), (A,)),
    "broadcast_in_dim": (lambda x: lax.broadcast_in_dim(x, (3, 5, 4), (0, 2)), (A,)),
    "concatenate": (lambda x, y: jnp.concatenate([x, y], 1), (A, B)),
    "convert_element_type": (lambda x: (x.astype(np.int32), (x > 0).astype(x.dtype)), (A,)),
    "cummax": (lambda x: lax.cummax(x, 1), (A,)),
    "cummin": (lambda x: lax.cummin(x, 0, reverse=True), (A,)),
    "cumprod": (lambda x: lax.cumprod(x, 1), (A,)),
    "cumsum": (lambda x, i: (lax.cumsum(x, 0, reverse=True), jnp.cumsum(i, 1)), (A, I)),
    "dot_general": (lambda t, x: (jnp.einsum("bij,kj->ibk", t, x), jnp.einsum("bij,bkj->bik", t, t), x @ x[0], x[0] @ x[1]), (T, A)),
    "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (i[0, 0], i[0, 1]), (2, 3)), (A, I)),
    "dynamic_update_slice": (lambda x, y, i: lax.dynamic_update_slice(x, y[:2, :3], (i[0, 0], i[0, 1])), (A, B, I)),
    "integer_pow": (lambda x: (x**3, x**-2, x**7), (A,)),
    "iota": (lambda x: x + lax.broadcasted_iota(x.dtype, (3, 4), 1), (A,)),
    "pad": (lambda x: (lax.pad(x, x[0, 0], ((1, -2, 1), (-1, 2, 0))), lax.pad(x, x[0, 0], ((0, 0, 2), (3, 0, 1)))), (A,)),
    "reduce_and": (lambda x: (x > 0).all(1), (A,)),
    "reduce_max": (lambda x: x.max(0), (A,)),
    "reduce_min": (lambda x: x.min(), (A,)),
    "reduce_or": (lambda x: (x > 1).any(0), (A,)),
    "reduce_prod": (lambda x: x.prod(1), (A,)),
    "reduce_sum": (lambda x, i: (x.sum((0, 1)), x.sum(1), i.sum(0), (x > 0).sum()), (A, I)),
    "reshape": (lambda x: x.T.reshape(2, 6), (A,)),
    "rev": (lambda x: lax.rev(x, (1,)), (A,)),
    "round": (lambda x: (jnp.round(2 * x), lax.round(2 * x, lax.RoundingMethod.AWAY_FROM_ZERO)), (np.round(4 * A) / 4,)),
    "slice": (lambda x: lax.slice(x, (0, 1), (3, 4), (2, 1)), (A,)),
    "sort": (lambda x, i: (jnp.sort(x, 1), jnp.argsort(x, 0), jnp.sort(i, 0)), (A, I)),
    "split": (lambda x: jnp.split(x, [1, 3], 1), (A,)),
    "squeeze": (lambda x: lax.squeeze(x[:, :1], (1,)), (A,)),
    "stack": (lambda x, y: jnp.stack([x, y], 1), (A, B)),
    "transpose": (lambda t: t.transpose(2, 0, 1), (T,)),
    "gather": (lambda x, i: (x[jnp.abs(i[0]) % 3], x[i], x.at[i, 1].get(mode="fill"), jax.vmap(jnp.take)(x, i)), (A, I)),
    "scatter": (lambda x, i: (x.at[jnp.arange(3), i[:, 0]].set(2.0), x.at[:, 1].set(x[:, 0]), x.at[7].set(1.0)), (A, I)),
    "scatter-add": (lambda x, i: (x.at[i[0]].add(1.0), jax.vmap(lambda r, k: r.at[k].add(r[0]))(x, i % 4)), (A, I)),
}

NEWER = {"one_minus_square"}  # not in every version of JAX that is supported


def both(function: Callable[..., Any], *arguments: Any) -> None:
    """NumPy's value, known to be NumPy's, against that of the compiled program."""
    run = Jitted(function)
    found, wanted = run(*arguments), run.compiled(*arguments)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert isinstance(a, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape
        close = 2e-6 if a.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(a, np.asarray(b), rtol=close, atol=close)


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_primitives_are_those_of_jax(name: str, kind: str) -> None:
    function, arguments = SAME[name]
    cast = [a.astype(kind) if a.dtype == np.float64 else a for a in arguments]
    with island(np.zeros((), kind)):
        both(function, *cast)
        assert name in names(jax.make_jaxpr(function)(*cast).jaxpr) or name in NEWER


def names(jaxpr: Any) -> list[str]:
    """The primitives of a program and of those inside."""
    found = []
    for equation in jaxpr.eqns:
        found.append(equation.primitive.name)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            found += names(inner) if hasattr(inner, "eqns") else []
    return found


def test_every_primitive_has_an_example() -> None:
    assert set(TABLE) == set(SAME)


def loops(x: Any) -> Any:
    """Every kind of loop and branch inside another."""

    def body(carry: Any, row: Any) -> Any:
        total = lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 0.5 + row.sum()), (0, carry[0]))[1]
        return (total, carry[1] + 1), lax.cond(carry[1] > 1, lambda r: r * total, jnp.sin, row)

    ends, rows = lax.scan(body, (x[0, 0], 0), x, reverse=True)
    return ends, rows, lax.switch(jnp.int32(7), [jnp.sin, jnp.cos], x), lax.map(lambda r: r.sum(), x, batch_size=2)


def test_loops_and_branches() -> None:
    with island():
        both(loops, A)
        both(jax.vmap(loops), T)
        both(jax.vmap(lambda n: lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 1.5), (0, n * jnp.ones(2)))[1]), J[0])
        both(jax.grad(lambda x: lax.scan(lambda c, r: (jnp.tanh(c + r), c), x[0], x)[1].sum()), A)
        both(jax.hessian(lambda x: (jnp.tanh(x) ** 3).sum()), A)
    assert set(LOOPS) | set(CALLS) >= {"scan", "while", "cond", "jit", "custom_jvp_call"}


@given(
    st.lists(st.sampled_from(["sin", "abs", "where", "roll", "matmul", "sum", "sort"]), min_size=1, max_size=5), st.integers(0, 2**32 - 1)
)
@settings(max_examples=30, deadline=None)
def test_programs_put_together(parts: list[str], seed: int) -> None:
    moves: dict[str, Callable[[Any], Any]] = {
        "sin": jnp.sin,
        "abs": jnp.abs,
        "where": lambda x: jnp.where(x > x.mean(), x, -x[::-1]),
        "roll": lambda x: jnp.roll(x, 2, 1) + x,
        "matmul": lambda x: x @ x.T @ x / 9,
        "sum": lambda x: x - x.sum(0) / 3,
        "sort": lambda x: jnp.sort(x, 0),
    }

    def chain(x: Any) -> Any:
        for part in parts:
            x = moves[part](x)
        return x

    with island():
        both(chain, np.random.default_rng(seed).normal(size=(4, 5)))


def kept(found: Any) -> bool:
    return isinstance(found, np.ndarray)


def test_which_way_is_taken() -> None:
    """NumPy for little work on known numbers, the compiler for all else."""

    @jitted(static=(1,))
    def power(x: Any, n: int) -> Any:
        for _ in range(n):
            x = jnp.sin(x) + 1
        return x

    small = np.ones(10, np.float32)
    assert kept(power(small, 3)) and kept(power(jnp.ones(10), 3)) and kept(power(1.5, 2))
    assert not kept(power(np.ones(10_000_000, np.float32), 3))  # much work
    assert not kept(jax.jit(lambda x: power(x, 3))(small)) and not kept(jax.vmap(lambda x: power(x, 3))(small))  # traced
    assert not kept(jax.grad(lambda x: power(x, 3).sum())(small))
    assert not kept(Jitted(jnp.linalg.cholesky)(np.eye(3, dtype=np.float32)))  # nothing that is known here
    assert not kept(Jitted(jax.random.normal)(jax.random.key(0)))


def test_work_that_turns_out_to_be_much_is_compiled() -> None:
    def count(n: Any) -> Any:
        return lax.while_loop(lambda i: i < n, lambda i: i + 1, jnp.zeros_like(n))

    run = Jitted(count)
    assert kept(run(np.int32(5))) and not kept(run(np.int32(10_000_000)))
    assert int(run(np.int32(10_000_000))) == 10_000_000
    assert kept(run(np.int32(5)))  # what was asked before does not matter


def test_types_are_those_of_the_flag() -> None:
    run = Jitted(lambda x: x * 2)
    assert run(np.ones(2)).dtype == np.float32 and run(1.5).dtype == np.float32 and run(np.float16(1)).dtype == np.float16
    with island():
        assert run(np.ones(2)).dtype == np.float64 and run(np.ones(2, np.float32)).dtype == np.float32
    assert Jitted(lambda x, y: x + y)(np.ones(2, np.float16), 1.0).dtype == np.float16  # Python's numbers are weak


def test_functions_that_hold_traced_values_are_compiled() -> None:
    def outer(c: Any) -> Any:
        return Jitted(lambda x: x * c)(np.ones(3, np.float32)).sum()

    assert float(jax.jit(outer)(2.0)) == 6.0 and float(jax.grad(outer)(2.0)) == 3.0


def test_a_program_is_traced_once_whichever_way_is_taken() -> None:
    times = []

    @jitted()
    def slow(x: Any, y: Any) -> Any:
        times.append(1)
        return jnp.linalg.cholesky(x) * y

    for x in (np.eye(3), jnp.eye(3)):  # float64, which the flag makes float32
        out = slow(x, 2.0)
        assert not kept(out) and out.dtype == np.float32 and np.allclose(out, 2 * np.eye(3))
    assert len(times) == 1


def test_known_values_are_computed_at_once_while_others_are_traced() -> None:
    run = Jitted(jnp.linalg.cholesky)

    def outer(x: Any) -> Any:
        return x * float(np.asarray(run(np.full((1, 1), 4.0, np.float32)))[0, 0])

    assert float(jax.jit(outer)(3.0)) == 6.0 and float(jax.grad(outer)(3.0)) == 2.0


@pytest.mark.parametrize("size", [FEW, FEW + 1])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_functions_of_python_for_few_numbers(size: int, kind: str) -> None:
    with island(np.zeros((), kind)):
        both(lambda x: (special.erf(x), special.erfc(x)), np.linspace(-5, 5, size).astype(kind))
        both(special.erf, np.ones((), kind))


def test_warnings_of_numpy_stay_inside() -> None:
    found = Jitted(lambda x: (1 / x, jnp.log(x), jnp.exp(1000 + x)))(np.zeros(2, np.float32))
    assert np.isinf(found[0]).all() and np.isinf(found[1]).all() and np.isinf(found[2]).all()
