"""How programs of JAX are run: compiled, or by NumPy where they are so small that compiling would take most of the time."""
