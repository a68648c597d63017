"""Connecting and disconnecting signals as Python does it in Slicer, by signature text and by attribute.

``button.connect('clicked(bool)', f)`` and ``button.clicked.connect(f)`` both work. The callable is kept alive by the
connection and gets as many arguments as it takes. A signal that does not exist raises (real PythonQt prints only).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6 import QtCore

from .class_info import signal_signatures

QObject = QtCore.QObject
_native_connect = QObject.connect
_FIELD = "_connections"  # in the __dict__ of a sender


@dataclass(frozen=True)
class Connection:
    """One connection: ``target`` is what the caller gave, ``slot`` what PySide6 calls."""

    name: str
    target: Callable
    slot: Callable


class BoundSignal:
    """A signal of an object, as PythonQt shows it: ``object.signal.connect(f)``."""

    __slots__ = ("_sender", "_name", "_signal")

    def __init__(self, sender: QtCore.QObject, name: str, signal: QtCore.SignalInstance) -> None:
        self._sender, self._name, self._signal = sender, name, signal

    def connect(self, target: Callable) -> bool:
        return _make_connection(self._sender, self._name, self._signal, target, None)

    def disconnect(self, target: Callable | None = None) -> bool:
        return _remove_connections(self._sender, self._name, self._signal, target)

    def emit(self, *args: Any) -> None:
        self._signal.emit(*args)

    __call__ = emit


def connect(self: QtCore.QObject, signature: Any, target: Any, *rest: Any) -> Any:
    """``sender.connect('signal(types)', callable)`` or ``sender.connect('signal(types)', receiver, 'slot(types)')``."""
    if not isinstance(signature, str):  # PySide6's own glue, for example inside QTimer.singleShot
        return _native_connect(signature, target, *rest)
    if rest:
        target = getattr(target, split_signature(rest[0])[0])
    name, count = _known_signal(self, signature)
    return _make_connection(self, name, native_signal(self, name), target, count)


def disconnect(self: QtCore.QObject, signature: Any = None, target: Any = None, *rest: Any) -> Any:
    """The reverse of ``connect``; False where there was no such connection."""
    if not isinstance(signature, str):
        return QObject.disconnect(signature, target, *rest)
    if rest:
        target = getattr(target, split_signature(rest[0])[0])
    name, _count = _known_signal(self, signature)
    return _remove_connections(self, name, native_signal(self, name), target)


METHODS = {"connect": connect, "disconnect": disconnect}


def split_signature(signature: str) -> tuple[str, int]:
    """``'clicked(bool)'`` -> ``('clicked', 1)``."""
    name, _, types = normalized(signature).partition("(")
    return name, len([t for t in types.rstrip(")").split(",") if t])


def normalized(signature: str) -> str:
    """The signature as Qt compares it, without spaces and const references."""
    return bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()


def native_signal(sender: QtCore.QObject, name: str) -> QtCore.SignalInstance:
    """PySide6's own object for a signal."""
    return getattr(sender, name)._signal


def has_signal(sender: QtCore.QObject, signature: str) -> bool:
    """Whether the object has the signal. A stand-in lists in ``_signatures`` those whose types are no Qt types."""
    signature = normalized(signature)
    name = signature.partition("(")[0]
    listed = (signature in c.__dict__.get("_signatures", ()) for c in type(sender).__mro__)
    return signature in signal_signatures(type(sender), name) or any(listed)


def _known_signal(sender: QtCore.QObject, signature: str) -> tuple[str, int]:
    if "(" not in signature or not has_signal(sender, signature):
        raise AttributeError(f"{type(sender).__name__} has no signal '{signature}'")
    return split_signature(signature)


def accepted_arguments(target: Callable) -> int | None:
    """How many positional arguments a callable takes, None for any number."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _signal_arguments(sender: QtCore.QObject, name: str) -> int:
    """How many arguments a signal has; the most, where it has default arguments or overloads."""
    counts = (split_signature(signature)[1] for signature in signal_signatures(type(sender), name))
    return max(counts, default=0)


def _make_connection(
    sender: QtCore.QObject, name: str, signal: QtCore.SignalInstance, target: Callable, count: int | None
) -> bool:
    if not callable(target):
        raise ValueError(f"a signal can not be connected to {target!r}")
    offered = _signal_arguments(sender, name) if count is None else count
    accepted = accepted_arguments(target)
    slot = _with_arguments(target, offered if accepted is None else min(offered, accepted))
    signal.connect(slot)
    sender.__dict__.setdefault(_FIELD, []).append(Connection(name, target, slot))
    return True


def _with_arguments(target: Callable, count: int) -> Callable:
    """A function of exactly ``count`` arguments: PySide6 chooses by it how many it passes."""
    return (
        lambda: target(),
        lambda a: target(a),
        lambda a, b: target(a, b),
        lambda a, b, c: target(a, b, c),
        lambda a, b, c, d: target(a, b, c, d),
    )[count]


def _remove_connections(
    sender: QtCore.QObject, name: str, signal: QtCore.SignalInstance, target: Callable | None
) -> bool:
    connections: list[Connection] = sender.__dict__.get(_FIELD, [])
    gone = [c for c in connections if c.name == name and (target is None or c.target == target)]
    for connection in gone:
        signal.disconnect(connection.slot)
        connections.remove(connection)
    return bool(gone)
