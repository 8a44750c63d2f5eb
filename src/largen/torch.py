"""PyTorch models. The library is imported when a function is called."""

from largen.adapters.torch import init_ as init_
