"""Bayes: posterior and evidence at infinite width and to first order in 1/n, hyperparameters, what the hidden layers learn.

Solvers (`observed`, `bayes`) take arrays; the public functions fetch them from theory.
"""
