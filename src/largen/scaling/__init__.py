"""Exponents of width and depth; learning rates per layer."""
