"""Properties and signals of Qt classes, read once per class.

An object's ``metaObject()`` is not asked later: PySide6 keeps one wrapper per meta object and may hand it out again after
it was invalidated together with some other object ("Internal C++ object already deleted").
"""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6 import QtCore


@dataclass(frozen=True)
class PropertyInfo:
    """A Qt property: its C++ type, and whether it can be written."""

    name: str
    kind: str
    writable: bool


@dataclass
class ClassInfo:
    """What one class adds to its bases; signals by name, each with its normalized signatures."""

    properties: dict[str, PropertyInfo] = field(default_factory=dict)
    signals: dict[str, list[str]] = field(default_factory=dict)


_known: dict[type, ClassInfo] = {}


def info_of(cls: type) -> ClassInfo:
    """What the class itself adds; read at the first call, which for every class comes soon after it was made."""
    if cls not in _known:
        _known[cls] = _read(cls) if issubclass(cls, QtCore.QObject) else ClassInfo()
    return _known[cls]


def _read(cls: type) -> ClassInfo:
    meta, info = cls.staticMetaObject, ClassInfo()
    for index in range(meta.propertyCount()):
        one = meta.property(index)
        if index >= meta.propertyOffset() or one.name() in cls.__dict__:
            info.properties[one.name()] = PropertyInfo(one.name(), one.typeName(), one.isWritable())
    for index in range(meta.methodOffset(), meta.methodCount()):
        method = meta.method(index)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
            name = bytes(method.name()).decode()
            info.signals.setdefault(name, []).append(bytes(method.methodSignature()).decode())
    return info


def find_property(cls: type, name: str) -> PropertyInfo | None:
    """The property of that name of a class or of its bases."""
    found = (info_of(c).properties.get(name) for c in cls.__mro__)
    return next((one for one in found if one is not None), None)


def signal_signatures(cls: type, name: str) -> list[str]:
    """All signatures of the signals of that name, default arguments and overloads apart."""
    return [signature for c in cls.__mro__ for signature in info_of(c).signals.get(name, ())]
