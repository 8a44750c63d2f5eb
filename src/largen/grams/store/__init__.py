"""Kernels on disk, block by block."""
