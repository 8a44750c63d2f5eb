"""PyTorch models. The library is imported when a function is called."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.adapters.torch import init_ as init_

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
