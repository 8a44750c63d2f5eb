"""Flax models, linen and nnx. The library is imported when a function is called."""

from largen.adapters.flax import init as init, table as table
