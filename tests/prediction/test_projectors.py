"""Projectors of the algorithm: printed numbers, limits, and the difference equations of training iterated to their end."""

from typing import Any

import numpy as np
import pytest

from largen.errors import InputError
from largen.prediction.first_order.projectors import projectors

NAMES = ("A", "B", "IA", "IB", "IIA", "IIB")


@pytest.mark.parametrize(
    "eta, printed",  # theory/pdlt_inf_AB.md section 2.2, h = 1
    [
        (0.2, (0.444444, 0.5, -0.149362, -0.166667, -0.116576, -0.444444)),
        (0.5, (0.333333, 0.5, -0.119048, -0.166667, -0.047619, -0.333333)),
        (0.9, (0.090909, 0.5, -0.041360, -0.166667, -0.000819, -0.090909)),
    ],
)
def test_printed_numbers(eta, printed):
    Z = projectors(np.array([1.0]), "descent", eta)
    np.testing.assert_allclose([getattr(Z, name).item() for name in NAMES], printed, atol=6e-7)


def test_one_input():
    H, eta = 1.7, 0.3
    flow, descent, newton = (projectors(np.array([H]), how, e) for how, e in (("flow", None), ("descent", eta), ("newton", None)))
    found = [getattr(flow, name).item() for name in NAMES]
    np.testing.assert_allclose(found, [1 / (2 * H**2)] * 2 + [-1 / (6 * H**3)] * 3 + [-1 / (2 * H**3)], rtol=1e-14)  # (inf.163)
    assert descent.A.item() == pytest.approx((1 - eta * H) / ((2 - eta * H) * H**2), rel=1e-14)  # (inf.164)
    found = [getattr(newton, name).item() for name in NAMES]
    np.testing.assert_allclose(found, [0, 1 / (2 * H**2), 0, -1 / (6 * H**3), 0, 0], rtol=1e-14)  # (inf.148)


def test_as_printed_with_inverse_tensors():
    """(inf.135-147) with their cancellations, and the parts of Z_B and Z_IB that matter."""
    h, eta = np.array([0.1, 0.6, 1.3, 2.1]), 0.7
    a, b, c = h[:, None, None], h[None, :, None], h[None, None, :]
    q = [1 - eta * x for x in (a, b, c)]
    X_ab, X_bc, X_abc = eta / (1 - q[0] * q[1]), eta / (1 - q[1] * q[2]), eta / (1 - q[0] * q[1] * q[2])
    Y1, Y2, Y4 = (X_ab - X_abc) / c, (1 / a - X_ab) / b, X_bc * (1 / a - X_abc)
    Y3 = 1 / (a * b * c) - X_ab / (b * c) - X_bc / (a * c) + X_bc * X_abc / c
    Z = projectors(h, "descent", eta)
    np.testing.assert_allclose(Z.A, Y2[..., 0], rtol=1e-12)
    np.testing.assert_allclose(Z.IA, -Y3 - eta / 2 * Y4, rtol=1e-11)
    np.testing.assert_allclose(Z.IIA, -Y3, atol=1e-11)
    np.testing.assert_allclose(Z.IIB, -Y3 - Y3.transpose(1, 0, 2) - Y3.transpose(0, 2, 1) - eta * (Y4 + Y1), atol=1e-10)
    B, IB = (Y2 + eta / 2 * X_ab)[..., 0], -Y3 - eta / 2 * (Y4 + Y1) - eta**2 / 6 * X_abc
    np.testing.assert_allclose(Z.B, (B + B.T) / 2, rtol=1e-12)
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    np.testing.assert_allclose(Z.IB, sum(IB.transpose(order) for order in orders) / 6, rtol=1e-11)
    flow, slow = projectors(h), projectors(h, "descent", 1e-9)
    for name in NAMES:
        np.testing.assert_allclose(getattr(slow, name), getattr(flow, name), rtol=1e-7)


def tensors(rng: Any, N: int, D: int, size: float) -> Any:
    """An NTK, dNTK, ddNTK I and II of D points, the first N of them train points, with their symmetries."""
    root = rng.normal(size=(D, D))
    d, dd1, dd2 = (size * rng.normal(size=(D,) * k) for k in (3, 4, 4))
    orders = [(0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 3, 2, 1)]
    dd1 = sum((dd1.transpose(order) for order in orders), 0 * dd1) / 6
    return root @ root.T / D + np.eye(D) / 2, (d + d.transpose(0, 2, 1)) / 2, dd1, (dd2 + dd2.transpose(1, 0, 3, 2)) / 2


def iterated(H: Any, d: Any, dd1: Any, dd2: Any, z: Any, y: Any, eta: float, steps: int) -> np.ndarray:
    """Outputs after descent by the coupled difference equations of outputs, NTK and dNTK (PDLT inf.81-83, from inf.4, 6, 9)."""
    N = len(y)
    drift = (dd1 + dd2 + dd2.transpose(0, 2, 1, 3))[..., :N]  # of dH_012: ddI_012j + ddII_012j + ddII_021j
    bend = (dd1 + dd1.transpose(1, 0, 2, 3) + 2 * dd2)[..., :N, :N]
    for _ in range(steps):
        e = z[:N] - y
        dz = -eta * H[:, :N] @ e + eta**2 / 2 * d[:, :N, :N] @ e @ e - eta**3 / 6 * dd1[:, :N, :N, :N] @ e @ e @ e
        dH = -eta * (d + d.transpose(1, 0, 2))[..., :N] @ e + eta**2 / 2 * bend @ e @ e
        z, H, d = z + dz, H + dH, d - eta * drift @ e
    return z


def contracted(Z: Any, vectors: Any, H: Any, d: Any, dd1: Any, dd2: Any, z: Any, y: Any) -> Any:
    """(inf.154) written out, on all points: train points come out as y."""
    N, r = len(y), vectors.T @ (z[: len(y)] - y)
    E = np.eye(len(z))[:, :N] @ vectors

    def term(tensor: Any, slot: int, projector: Any) -> Any:
        for axis in range(tensor.ndim):
            tensor = tensor if axis == slot else np.moveaxis(np.moveaxis(tensor, axis, -1) @ (E * r), -1, axis)
        return np.tensordot(np.moveaxis(tensor, slot, 0), projector, projector.ndim)

    ways = [(d, 1, Z.A), (d, 0, Z.B), (dd1, 1, Z.IA), (dd1, 0, Z.IB), (dd2, 2, Z.IIA), (dd2, 0, Z.IIB)]
    bent = np.sum([term(*way) for way in ways], 0)
    R = H[:, :N] @ np.linalg.inv(H[:N, :N])
    return z - R @ (z[:N] - y) + bent - R @ bent[:N]


@pytest.mark.parametrize("fraction", [0.05, 0.4, 1.5])  # eta x the largest eigenvalue
def test_the_end_of_the_difference_equations(fraction):
    """The residual is of second order in the tensors: it falls by 100 when they fall by 10."""
    residuals, firsts = [], []
    for size in (1e-3, 1e-4):
        rng = np.random.default_rng(1)
        H, d, dd1, dd2 = tensors(rng, 3, 5, size)
        z, y = rng.normal(size=5), rng.normal(size=3)
        values, vectors = np.linalg.eigh(H[:3, :3])
        eta = fraction / values[-1]
        end = iterated(H, d, dd1, dd2, z, y, eta, int(40 / (eta * values[0])))
        trained = contracted(projectors(values, "descent", eta), vectors, H, d, dd1, dd2, z, y)
        np.testing.assert_allclose(trained[:3], y, atol=1e-12)
        linear = z[3:] - H[3:, :3] @ np.linalg.solve(H[:3, :3], z[:3] - y)
        residuals.append(np.abs(end - trained)[3:].max())
        firsts.append(np.abs(end[3:] - linear).max())
    assert residuals[1] < residuals[0] / 80 and residuals[1] < firsts[1] / 30


def test_bad_input():
    bad: list[tuple[Any, str]] = [
        ((np.array([1.0, 0.0]),), "`values`: got a smallest one of 0"),
        ((np.ones((2, 2)),), r"`values`: got shape \(2, 2\)"),
        ((np.ones(2), "bayes"), "`how`: got 'bayes'"),
        ((np.ones(2), "descent"), "`eta`: got None"),
        ((np.ones(2), "flow", 0.1), '`eta`: got 0.1; needed no eta with how="flow"'),
        ((np.array([1.0, 4.0]), "descent", 0.5), "`eta`: got 0.5; needed less than 2/lambda_max = 0.5, or training has no end"),
    ]
    for arguments, told in bad:
        with pytest.raises(InputError, match=told):
            projectors(*arguments)
