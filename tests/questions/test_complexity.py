"""Counts of the numbers that specify a trained network, and which tensors vanish, against brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from single_input_recursions import iterate, table

import largen as lg
from largen.errors import InputError
from largen.questions.complexity import NAMES, SWAPS, complexity, entries

TANH = lg.mlp(widths=[16, 16], out=3, activation="tanh")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("N", [1, 2, 3, 5])
def test_entries_are_the_orbits_of_the_indices(name, N):
    """Counted one by one."""
    orbits = {min(tuple(index[i] for i in g) for g in ((0, 1, 2, 3), *SWAPS[name])) for index in itertools.product(range(N), repeat=4)}
    assert entries(name, N) == len(orbits)


def test_swaps_are_groups():
    for name, swaps in SWAPS.items():
        group = {(0, 1, 2, 3), *swaps}
        assert {tuple(a[i] for i in b) for a in group for b in group} == group, name


def test_closed_forms_of_the_counts():
    for N in (1, 4, 11):
        M = N * (N + 1) // 2
        expected = {"V": M * (M + 1) // 2, "A": M * (M + 1) // 2, "D": M * M, "F": (N**4 + N**2) // 2, "B": (N**4 + 3 * N**2) // 4}
        expected |= {"P": N * N * M, "R": N * N * M, "Q": N**4, "S": (N**4 + N**2) // 2}
        expected |= {"T": expected["S"], "U": expected["S"]}
        assert {name: entries(name, N) for name in NAMES} == expected


def test_symmetries_hold_in_printed_tensors():
    """pdlt_10_11 2.5, two inputs, L = 3, flattened [0, 1, 2, 3]: P is symmetric in its middle indices, Q in none."""
    P = "-.338286 -.01341 -.119683 -.004332 -.119683 -.004332 -.057953 -.001721 "
    P += "-.001717 -.054638 -.004241 -.108577 -.004241 -.108577 -.01278 -.294047"
    Q = "-.130625 -.00264 -.049502 -.001553 -.113475 .319448 -.060006 .062172 "
    Q += ".065052 -.056484 .336265 -.104763 -.001481 -.042111 -.002956 -.108809"
    for text, name in ((P, "P"), (Q, "Q")):
        tensor = np.array(text.split(), float).reshape(2, 2, 2, 2)
        same = {g for g in itertools.permutations(range(4)) if np.allclose(tensor, tensor.transpose(g), atol=1e-6)}
        assert same == {(0, 1, 2, 3), *SWAPS[name]}


def test_infinite_width():
    """(eps.14): n_out N_A + N_D (N_D + 1)."""
    out = complexity(TANH, n_train=10, n_test=4, n_in=7)
    assert out.infinite == 3 * 10 + 14 * 15 and out.exponent == (2, 4)
    assert out.parameters == 8 * 16 + 17 * 16 + 17 * 3 and not out.missing
    assert out.tensors is not None and out.finite == out.infinite + sum(out.tensors.values()) and not out.vanishing
    params = lg.init(TANH, 7, jax.random.key(0))
    assert out.parameters == sum(v.size for layer in params.values() for v in layer.values())


def test_the_count_grows_as_the_fourth_power():
    """The sum of 1/|G| over the eleven tensors: 2/8 + 1/4 + 1/2 + 1/4 + 1/2 + 1 + 1/2 + 3/2 = 4.75 N^4."""
    N = 10**4
    out = complexity(TANH, N)
    assert out.finite is not None and out.finite / N**4 == pytest.approx(4.75, rel=1e-3)


def test_parameters_do_not_matter():
    wide = lg.widen(TANH, 100)
    assert complexity(wide, 5, n_in=7).finite == complexity(TANH, 5, n_in=7).finite
    many, few = complexity(wide, 5, n_in=7).parameters, complexity(TANH, 5, n_in=7).parameters
    assert many and few and many > 1000 * few


def test_six_point_vertex_of_relu():
    """T10 (eps.20): U' = (C_W^3/8)(U + 30 V K + 44 K^3) for the third cumulant U/n^2 of the metric, and U/K^3 -> 75 l^2."""
    n, L = 10**7, 400
    law = lg.exact.size_moments(lg.mlp(widths=[n] * (L - 1), out=1, activation="relu", C="critical"), np.full((1, 4), 0.5**0.5), order=3)
    U, V = 0.0, 0.0
    for l in range(L - 1):
        U, V = U + 30 * V + 44, V + 5
        if l in (0, 1, 50):
            assert law.cumulants[l + 1, 2] * n**2 == pytest.approx(U, rel=1e-3)
    assert U / L**2 == pytest.approx(75, rel=0.01)
    assert law.cumulants[-1, 2] * n**2 == pytest.approx(U, rel=1e-2)


# ---------------------------------------------------------------- what vanishes


def zeros(net, rates):
    return "".join(complexity(net, 2, rates=rates).vanishing)


def test_last_layer_rates():
    """T11: lambda^(l<L) = 0 => B = F = P = Q = R = S = T = U = 0, A and D generally not."""
    for net in (TANH, lg.mlp(widths=[8] * 3, out=1, activation="relu")):
        L = len(lg.analysis.chain(net))
        out = complexity(net, 3, rates=([0] * (L - 1) + [1], [0] * (L - 1) + [2]))
        assert set(out.vanishing) == set("BFPQRSTU") and "last layer" in out.vanishing["B"] and not out.undefined
        assert zeros(net, ([0] * (L - 1) + [1], 0)) == "DFABPQRSTU"  # the last biases alone: Theta = lambda_b


def test_linear_networks():
    linear = lg.mlp(widths=[8, 8], out=1, activation="linear")
    assert zeros(linear, (0.7, 1.3)) == "PRU"
    assert "linear" in complexity(linear, 2).vanishing["R"]
    assert zeros(linear, (1.0, 0.0)) == "DAPQRSTU"  # biases alone


def test_relu():
    net = lg.mlp(widths=[8, 8], out=1, activation="relu", C="critical")
    out = complexity(net, 1, rates=(1, 1))
    assert set(out.vanishing) == {"P"} and "exact" in out.vanishing["P"]
    assert set(out.undefined) == set("RSTU") and out.finite is None and "kinks" in out.missing["finite"]
    assert out.tensors is not None and set(out.tensors) == set("VDFABQ")


def test_one_layer():
    out = complexity(lg.Dense(2), 4)
    assert "".join(out.vanishing) == "".join(NAMES) and out.finite == out.infinite and "linear model" in out.vanishing["V"]


def test_second_layer_of_a_smooth_network_has_all():
    assert zeros(lg.mlp(widths=[8], out=1, activation="tanh"), (1, 1)) == ""
    assert zeros(TANH, (0, 0)) == "DFABPQRSTU"


def test_what_vanishes_is_zero_in_the_single_input_recursions():
    """Every tensor at layer 4 for one input, iterated: it is 0 exactly when it is said to be."""
    cases = {"linear": lambda z: z, "tanh": "tanh"}
    hyper = [((1, 1, 1, 1), (1, 1, 1, 1)), ((0, 0, 0, 1), (0, 0, 0, 1)), ((1, 0, 0, 0), (0, 0, 0, 0)), ((0, 0, 0, 0), (0, 1, 0, 0))]
    hyper += [((0, 0, 0, 1), (0, 0, 0, 0)), ((1, 1, 1, 1), (0, 0, 0, 0)), ((0, 0, 1, 0), (0, 0, 0, 0))]
    for name, fn in cases.items():
        jets, net = table(fn, 20.0), lg.mlp(widths=[8] * 3, out=1, activation=name, C_W=1.3, C_b=0.2)
        for rates in hyper:
            _, _, X = iterate(jets, 0.9, 4, 0.2, 1.3, lambda l: rates[0][l - 1], lambda l: rates[1][l - 1])  # noqa: B023
            found = {n for n in NAMES if abs(X[n]) < 1e-10}
            assert found == set(complexity(net, 1, rates=rates).vanishing), (name, rates)


# ---------------------------------------------------------------- the rest


def test_no_chain():
    out = complexity(lg.resnet_mlp(8, 1, activation="tanh", norm=True), 3)
    assert out.tensors is None and out.finite is None and "chains" in out.missing["tensors"] and out.infinite == 3 + 12
    assert complexity(lg.resnet_mlp(8, 1, activation="tanh", skip=0.5), 3).finite is not None


def test_words():
    text = " ".join(complexity(lg.mlp(widths=[8], out=1, activation=lg.activation(lambda z: jnp.sin(z))), 3, n_in=2).sentences)
    assert "At infinite width 15 numbers" in text and "33 parameters" in text


@pytest.mark.parametrize("call", [lambda: complexity(TANH, 0), lambda: complexity(TANH, 1, -1), lambda: complexity(TANH, 1, rates=(-1, 1))])
def test_bad_input(call):
    with pytest.raises(InputError):
        call()
