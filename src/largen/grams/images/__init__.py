"""Kernels of images, one offset between two pixels at a time."""
