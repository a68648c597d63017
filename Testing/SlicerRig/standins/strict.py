"""Name spaces that refuse what they do not have, as a misspelt name in Slicer would be refused."""

from __future__ import annotations

import types


class StrictModule(types.ModuleType):
    """Offers what it was given; any other name raises and says what to do."""

    def __init__(self, name: str, **attributes) -> None:
        super().__init__(name)
        self.__dict__.update(attributes)

    def __getattr__(self, name: str):
        raise AttributeError(f"{self.__name__} has no {name!r} here; add it only if Slicer has it")
