"""Training at order 1/n in the widths: projectors of the algorithm, one network, the ensemble. Solvers take arrays."""
