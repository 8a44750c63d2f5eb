"""The recursions of all 1/n tensors for one input, written down literally: what asymptotics and counts are tested against."""

import math

import jax.numpy as jnp
import numpy as np

import largen as lg
from largen.questions.asymptotics import NAMES
from largen.types import island

Z = np.linspace(-9.5, 9.5, 240)
DENSITY = np.exp(-(Z**2) / 2) / np.sqrt(2 * np.pi) * (Z[1] - Z[0])
ZERO = dict.fromkeys(NAMES, 0.0)


def table(phi, reach):
    """phi and its first three derivatives at any points, by splines of exact values."""
    from scipy.interpolate import CubicSpline

    x = np.linspace(-reach, reach, 20001)
    phi = lg.activation(phi)
    with island():
        return [CubicSpline(x, np.asarray(phi.derivative(order)(jnp.asarray(x)))) for order in range(4)]


def iterate(jets, K, depth, C_b, C_W, bias, weight):
    """The recursions (9.6), (9.13-9.16), (11.55-56), (inf.14-17) at one input, literally; bias, weight functions of the layer."""
    X, Th = dict(ZERO), bias(1) + weight(1) * (K - C_b) / C_W
    for l in range(1, depth):
        z = Z * math.sqrt(K)
        s0, s1, s2, s3 = (jet(z) for jet in jets)

        def m(f):
            return float(f @ DENSITY)

        g, c, lb, lw = m(s0 * s0), C_W, bias(l + 1), weight(l + 1)
        par, perp, h = c / K * m(z * s0 * s1), c * m(s1 * s1), c / (2 * K) * m(z * s1 * s2)
        f4, f22, f04, q = m(s0**4), m(s0 * s0 * s1 * s1), m(s1**4), lw / c
        N = {}
        N["V"] = par**2 * X["V"] + c * c * (f4 - g * g)
        mixed = c * c * f22 - c * g * perp + 2 * h * par * X["V"]
        N["D"] = perp * par * X["D"] + q * N["V"] + Th * mixed
        N["F"] = par**2 * X["F"] + c * c * f22 * Th
        N["B"] = perp**2 * X["B"] + c * c * f04 * Th**2
        N["A"] = perp**2 * X["A"] - q * q * N["V"] + 2 * q * N["D"] + 4 * h * perp * Th * X["D"]
        N["A"] += Th**2 * (c * c * f04 - perp**2 + 4 * h * h * X["V"])
        f211, f20, f31, f22d, f11 = m(s2 * s1 * s1 * s0), m(s2 * s0), m(s3 * s1), m(s2 * s2), m(s1 * s1)
        carry = c * perp * f20 + perp**2
        N["P"] = c * c * f211 * Th**2 + c * perp * f20 * X["B"] + carry * X["P"]
        N["Q"] = c * c * f211 * Th**2 + q * N["F"] + 2 * h * par * Th * X["F"] + carry * X["Q"]
        bent = m(s2 * s2 * s1 * s1)
        N["R"] = perp**2 * X["R"] + lw * c * f211 * Th**2 + c * c * m(s3 * s1**3) * Th**3
        N["R"] += perp * (lw * f20 + c * Th * f31) * (X["B"] + X["P"]) + perp * (lw * f11 + c * Th * f22d) * X["P"]
        N["S"] = perp**2 * X["S"] + c * lw * f04 * Th**2 + c * c * bent * Th**3 + perp * (lw * f11 + c * Th * f22d) * X["B"]
        N["T"] = perp**2 * X["T"] + 2 * c * lw * f211 * Th**2 + c * c * bent * Th**3 + lw**2 * f22 * Th
        N["T"] += (lw * m(z * s1 * s0) + c * Th * m(z * s2 * s1)) ** 2 * X["F"] / K**2
        N["T"] += 2 * perp * (lw * (f20 + f11) + c * Th * (f31 + f22d)) * X["Q"]
        N["U"] = perp**2 * X["U"] + c * c * bent * Th**3
        X, K, Th = N, C_b + c * g, lb + lw * g + perp * Th
    return K, Th, X
