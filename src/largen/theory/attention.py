"""Attention at infinitely many heads: second moments of what the heads give, from those of queries, keys and values.

Heads are independent and many, so their sums are Gaussian with covariance, a, b positions of one point and c, d of the other,

    K'_ac = sum_bd E[zeta(G)_ab zeta(G)_cd] K^v_bd.

"1/sqrt(d)", identity: G_ab is bilinear in independent queries and keys, E G_ab G_cd = K^q_ac K^k_bd for any width of a head, so

    K'_ac = K^q_ac sum_bd K^k_bd K^v_bd,    Theta'_ac = Theta^q_ac S(K^k, K^v) + K^q_ac [S(Theta^k, K^v) + S(K^k, Theta^v)],

S(A, B) = sum_bd A_bd B_bd, as for a product of three independent factors (cross terms of the derivative have mean zero).

"1/d", tied: G_ab -> sqrt(C_query/C_key) K^k_ab, covariances of the point with itself, which neither fluctuate nor move in training
(derivatives are O(1/d)): values are averaged with fixed weights, K'_ac = sum_bd A_ab A'_cd K^v_bd, and so is Theta^v.

Source: Hron et al. 2020 (arXiv:2006.10540).
"""

import math
from typing import Any

import jax.numpy as jnp

from largen.architecture.attention import MECHANISMS, Attention
from largen.gaussian import pair as pairs
from largen.gaussian.pair import Pair
from largen.theory import positions
from largen.theory.positions import Carrier


def attended(node: Attention, ends: list[Carrier]) -> Carrier:
    """The carrier of the heads, from those of (queries,) keys and values, all in the layout PAIRS."""
    return _averages(node, *ends) if node.tied else _bilinear(*ends)


def _bilinear(query: Carrier, key: Carrier, value: Carrier) -> Carrier:
    assert query.own is not None and key.own is not None and value.own is not None
    axes = tuple(range(2, query.theta.ndim))

    def total(a: Any, b: Any) -> Any:
        return (a * b).sum(axes, keepdims=True)

    S1, S2 = (total(k.k, v.k) for k, v in zip(key.own, value.own, strict=True))
    S = total(key.pair.k, value.pair.k)
    same = jnp.eye(*S.shape[:2], dtype=bool).reshape(S.shape) & (S1 > 0) if key.same else jnp.zeros(S.shape, bool)
    loose = pairs.from_moments(S1, S2, S)
    factor = Pair(S1, S2, S, jnp.where(same, 0.0, loose.near), jnp.where(same, 2.0, loose.far))
    theta = query.theta * S + query.pair.k * (total(key.theta, value.pair.k) + total(key.pair.k, value.theta))

    def alone(own: Pair, size: Any) -> Pair:
        one = jnp.zeros_like(size)
        return pairs.times(own, Pair(size, size, size, one, 2 + one))

    own = (alone(query.own[0], S1), alone(query.own[1], S2))
    error = jnp.maximum(query.error, jnp.maximum(key.error, value.error))
    return Carrier(pairs.times(query.pair, factor), theta, error, own, query.space, query.same)


def _averages(node: Attention, key: Carrier, value: Carrier) -> Carrier:
    assert key.own is not None and value.own is not None
    many, space = math.prod(key.space), key.space

    def square(a: Any) -> Any:
        return a.reshape(*a.shape[:2], many, many)

    A1, A2 = (MECHANISMS[node.mechanism](node.ratio * square(own.k)) for own in key.own)

    def mean(left: Any, a: Any, right: Any) -> Any:
        product = jnp.matmul(left, jnp.matmul(square(a), right.swapaxes(-1, -2), precision="highest"), precision="highest")
        return product.reshape(*a.shape[:2], *space, *space)

    own1, own2 = mean(A1, value.own[0].k, A1), mean(A2, value.own[1].k, A2)
    return positions.from_covariances(value, own1, own2, mean(A1, value.pair.k, A2), mean(A1, value.theta, A2), space)
