"""Expectations under a Gaussian: pairs of points, quadrature that knows kinks, Hermite series."""
