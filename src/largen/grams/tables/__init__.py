"""Kernels that are functions of one cosine, or of two norms and one, tabulated from the recursion."""
