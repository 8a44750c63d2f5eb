"""Real networks: init, apply, train, ensembles, empirical kernels. Never sees theory/."""
