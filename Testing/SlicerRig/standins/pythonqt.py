"""How Python reaches a C++ object in Slicer (PythonQt's rules), applied to the classes of PySide6.

Reading ``object.name``: the value of a Qt property, else a slot or signal, else a dynamic property, else a direct child of
that object name, else AttributeError. Writing: a writable property that takes the value, else a dynamic property, else
AttributeError; only a Python subclass has free attributes. No keyword arguments. Enumerators are ints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, GetSetDescriptorType, MethodType
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import signals, surface
from .class_info import PropertyInfo, find_property, info_of
from .none_count import make_none_immortal

make_none_immortal()
QObject = QtCore.QObject
QT_MODULES = (QtCore, QtGui, QtWidgets)
MARK = "_is_stand_in"  # in the own namespace of a class that stands for a C++ class
_ignoring: list[bool] = []
_plain_setattr = next(c for c in QObject.__mro__ if c.__name__ == "Object").__setattr__


def is_cpp(instance: object) -> bool:
    """Whether the object is of a C++ class in Slicer, and not of a Python class derived from one."""
    return _is_cpp_class(type(instance))


def _is_cpp_class(cls: type) -> bool:
    return cls.__module__.startswith("PySide6") or MARK in cls.__dict__


class NativeProperty:
    """Reads and writes one Qt property of one PySide6 class as an attribute, in place of its getter of the same name."""

    def __init__(self, cls: type, info: PropertyInfo) -> None:
        self.name = info.name
        self._info = info
        capital = self.name[0].upper() + self.name[1:]
        own = cls.__dict__.get(self.name)
        self._on_class = None if isinstance(own, NativeProperty) else getattr(cls, self.name, None)
        getters = (getattr(cls, name, None) for name in (self.name, f"is{capital}", f"has{capital}"))
        getter = next((g for g in getters if isinstance(g, NativeProperty) or callable(g)), None)
        self._getter = getter._getter if isinstance(getter, NativeProperty) else getter
        self._setter = getattr(cls, f"set{capital}", None) if info.writable else None
        self._static = False  # QCoreApplication.applicationName belongs to the class; found out at the first use
        self._reading: set[int] = set()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:  # QTimer.singleShot is a static function and a property
            return self if self._on_class is None else self._on_class
        key = id(instance)
        if key in self._reading:  # the C++ getter is virtual, and looks for a Python method that overrides it
            return None
        self._reading.add(key)
        try:
            return self._read(instance)
        finally:
            self._reading.discard(key)

    def _read(self, instance: Any) -> Any:
        if self._getter is None:
            return QObject.property(instance, self.name)
        if not self._static:
            try:
                return self._getter(instance)
            except TypeError:
                self._static = True
        return self._getter()

    def __set__(self, instance: Any, value: Any) -> None:
        if not self._info.writable:
            raise AttributeError(f"property '{self.name}' of {type(instance).__name__} is not writable")
        value = convert(self._info, value)
        if self._setter is None:
            if not QObject.setProperty(instance, self.name, value):
                raise refused(self._info, value)
            return
        try:
            self._setter(value) if self._static else self._setter(instance, value)
        except TypeError as error:
            raise refused(self._info, value) from error


def convert(info: PropertyInfo, value: Any) -> Any:
    """What PythonQt makes of a value that is assigned to a property. Raises AttributeError where it refuses it."""
    kind = info.kind
    if kind == "QString":
        return "" if value is None else str(value)
    if kind == "bool":
        return bool(value)
    if kind == "QStringList":
        if isinstance(value, str) or value is None:
            raise refused(info, value)
        return [str(item) for item in value]
    number = {"int": int, "uint": int, "qlonglong": int, "double": float, "float": float}.get(kind)
    if number is None:
        return value
    if isinstance(value, str) or value is None:
        raise refused(info, value)
    try:
        return number(value)
    except (TypeError, ValueError) as error:
        raise refused(info, value) from error


def refused(info: PropertyInfo, value: Any) -> AttributeError:
    """The error for a value that a property does not take."""
    return AttributeError(
        f"property '{info.name}' of type '{info.kind}' does not accept {value!r} ({type(value).__name__})"
    )


class PositionalCall:
    """A bound C++ method. PythonQt does not call one with keyword arguments, PySide6 would."""

    __slots__ = ("_method",)

    def __init__(self, method: Callable) -> None:
        self._method = method

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        refuse_keywords(self._method.__name__, keywords)
        return self._method(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositionalCall) and self._method == other._method

    def __hash__(self) -> int:
        return hash(self._method)

    @property
    def __name__(self) -> str:
        return self._method.__name__


class RefusedMethod:
    """In place of a method that PySide6 has and PythonQt has not: raises as soon as it is used.

    Reading it does not raise, because Qt reads virtual methods, to see whether Python overrides them.
    """

    __slots__ = ("_owner", "_name")

    def __init__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner.__name__, name

    def __call__(self, *_args: Any, **_keywords: Any) -> Any:
        raise AttributeError(f"{self._owner} has no attribute '{self._name}' in Slicer")

    def __getattr__(self, _name: str) -> Any:
        return self()


def refuse_keywords(name: str, keywords: dict) -> None:
    """Raises ValueError where a C++ method or constructor is called with keyword arguments."""
    if keywords:
        raise ValueError(f"called {name}() with keyword arguments {sorted(keywords)}; a C++ method takes none")


def _make_getattribute(original: Callable) -> Callable:
    """PySide6 answers per class before it looks at descriptors of a base class, hence one of these per class."""

    def __getattribute__(self: Any, name: str) -> Any:
        special = signals.METHODS.get(name)
        if special is not None:
            return MethodType(special, self)
        if name in surface.hidden_names(type(self)):
            return RefusedMethod(type(self), name)
        value = original(self, name)
        kind = type(value)
        if kind is BuiltinFunctionType:
            return PositionalCall(value)
        if kind is QtCore.SignalInstance:
            return signals.BoundSignal(self, name, value)
        return value

    return __getattribute__


def _getattr(self: Any, name: str) -> Any:
    """Only reached where nothing else has the name."""
    if not name.startswith("__"):
        if name in dynamic_names(self):
            return QObject.property(self, name)
        for child in QObject.children(self):
            if QObject.property(child, "objectName") == name:
                return child
    raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")


def _setattr(self: Any, name: str, value: Any) -> None:
    found = next((c.__dict__[name] for c in type(self).__mro__ if name in c.__dict__), None)
    if isinstance(found, QtCore.Property):
        info = find_property(type(self), name)
        if not info.writable:
            raise AttributeError(f"property '{name}' of {type(self).__name__} is not writable")
        QObject.setProperty(self, name, convert(info, value))
    elif isinstance(found, (NativeProperty, property)) or not is_cpp(self):
        _plain_setattr(self, name, value)
    elif isinstance(value, QtCore.SignalInstance) or _is_own_field(type(self), name):
        _plain_setattr(self, name, value)  # PySide6 stores its bound signals this way; a stand-in its declared fields
    elif found is not None:
        kind = "signal" if isinstance(found, QtCore.Signal) else "slot"
        raise AttributeError(f"{kind} '{name}' of {type(self).__name__} can not be overwritten")
    elif name in dynamic_names(self):
        QObject.setProperty(self, name, value)
    elif not _ignoring:
        raise AttributeError(f"{type(self).__name__} has no attribute '{name}', and a C++ object takes no new ones")


@contextlib.contextmanager
def new_attributes_ignored() -> Iterator[None]:
    """PySide6's loader sets each object of a .ui file as an attribute of its root, which Slicer does not."""
    _ignoring.append(True)
    try:
        yield
    finally:
        _ignoring.pop()


def _is_own_field(cls: type, name: str) -> bool:
    """Whether a stand-in class declares the private field ``name`` in a class body."""
    return name.startswith("_") and any(name in c.__dict__.get("__annotations__", ()) for c in cls.__mro__)


def dynamic_names(instance: QtCore.QObject) -> list[str]:
    """Names of the properties that an object got at run time, for example ``SlicerParameterName`` from a .ui file."""
    return [bytes(name).decode() for name in QObject.dynamicPropertyNames(instance)]


def _without_keywords(cls: type) -> Callable:
    original = cls.__init__

    def __init__(self: Any, *args: Any, **keywords: Any) -> None:
        if is_cpp(self):
            refuse_keywords(cls.__name__, keywords)
        original(self, *args, **keywords)

    return __init__


def _native_classes() -> list[type]:
    """All QObject classes of PySide6 that are used, base classes first."""
    classes: dict[type, None] = {}
    for module in (*QT_MODULES, QtUiTools):
        for name in dir(module):
            cls = getattr(module, name)
            if isinstance(cls, type) and issubclass(cls, QObject):
                bases = [c for c in reversed(cls.__mro__) if issubclass(c, QObject)]
                classes.update(dict.fromkeys(c for c in bases if c.__module__.startswith("PySide6")))
    return list(classes)


def _value_classes() -> list[type]:
    """Classes of PySide6 that are no QObjects and are made by Python code: QColor, QSize, QTableWidgetItem, ..."""
    classes = (getattr(module, name) for module in QT_MODULES for name in dir(module) if name.startswith("Q"))
    values = (c for c in classes if isinstance(c, type) and c.__mro__[-2].__name__ == "Object")
    return [c for c in values if not issubclass(c, QObject)]


def _refuse_new_attribute(self: Any, name: str, value: Any) -> None:
    field = isinstance(getattr(type(self), name, None), GetSetDescriptorType)  # QStyleOption.rect
    if _is_cpp_class(type(self)) and not field:
        raise AttributeError(f"{type(self).__name__} takes no attribute '{name}': it is a C++ object")
    _plain_setattr(self, name, value)


def apply_rules() -> None:
    """Makes the classes of PySide6 follow PythonQt's rules, once per process."""
    if getattr(QObject, "_follows_pythonqt", False):
        return
    classes = _native_classes()
    original = {cls: cls.__getattribute__ for cls in classes}  # all of them, before the first is changed
    for cls in classes:
        for descriptor in [NativeProperty(cls, info) for info in info_of(cls).properties.values()]:
            setattr(cls, descriptor.name, descriptor)
        cls.__setattr__ = _setattr
        cls.__getattribute__ = _make_getattribute(original[cls])
        cls.__init__ = _without_keywords(cls)
    for cls in _value_classes():
        cls.__setattr__ = _refuse_new_attribute
        cls.__init__ = _without_keywords(cls)
    QObject.__getattr__ = _getattr
    QObject.name = QObject.__dict__["objectName"]
    QObject.delete = lambda self: shiboken6.delete(self)
    QObject.className = lambda self: type(self).__name__
    QObject._follows_pythonqt = True
