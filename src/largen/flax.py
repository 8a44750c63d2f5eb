"""Flax models, linen and nnx. The library is imported when a function is called."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.adapters.flax import init as init, table as table

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
