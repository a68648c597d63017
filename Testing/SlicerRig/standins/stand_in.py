"""What the stand-in classes of CTK's and MRML's widgets have in common."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

from .class_info import info_of
from .pythonqt import MARK, refuse_keywords


def stand_in(cls: type) -> type:
    """Marks a class as one that is C++ in Slicer: no free attributes, and no keyword arguments for its public methods.

    Its private fields are declared in the class body with a type. Setters and getters do not come with a property:
    CTK's and MRML's reach Python only where they are slots or invokable.
    """
    setattr(cls, MARK, True)
    info_of(cls)
    for name, member in list(cls.__dict__.items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(cls, name, _positional(member))
    return cls


def _positional(method: Callable) -> Callable:
    @functools.wraps(method)
    def call(*args: Any, **keywords: Any) -> Any:
        refuse_keywords(method.__name__, keywords)
        return method(*args)

    return call


def stored_property(kind: Any, name: str, default: Any, changed: str = "") -> QtCore.Property:
    """A Qt property that keeps its value, and calls the method named ``changed`` when it gets another one."""
    key = f"_property_{name}"

    def get(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def set_(self: Any, value: Any) -> None:
        if value != get(self):
            self.__dict__[key] = value
            if changed:
                getattr(self, changed)()

    return QtCore.Property(kind, get, set_)


def setter_slot(name: str) -> Callable:
    """A slot ``setX(value)`` for a property ``x`` whose setter is a slot in C++."""

    def set_(self: Any, value: Any) -> None:
        setattr(self, name, value)

    set_.__name__ = "set" + name[0].upper() + name[1:]
    return set_
