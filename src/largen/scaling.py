"""Parametrizations at work: which follow from which demands."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.agreement.richness import richness_sweep as richness_sweep
    from largen.parametrizations.derive import derive as derive
    from largen.parametrizations.picture import picture as picture

    __all__: list[str]
else:
    from largen import lazy

    __getattr__, __dir__, __all__ = lazy.names(__name__)
