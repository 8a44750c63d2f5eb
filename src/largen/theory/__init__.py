"""What theory says: kernels of infinitely wide networks."""
