"""Trained predictions from kernels: flow, posterior, samples, step sizes."""
