"""What BiPVLSeg keeps on this computer outside of its own installation: listed with sizes, and removed.

Removed is only what is recognisably ours: model folders in the user's models folder, leftovers of runs in Slicer's
temporary folder, and folders that are empty afterwards. Links are removed and never followed.
"""

from __future__ import annotations

import enum
import getpass
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .leftovers import find_leftovers, remove_leftover
from .model_store import user_models_folder
from .paths import models_folder

_CONFIG = "config.json"
_MOST_NAMES = 5


class Kind(enum.Enum):
    MODEL = "model"
    LINK = "link"
    LEFTOVER = "leftover"
    FOLDER = "folder"


@dataclass(frozen=True)
class Kept:
    """One thing that can be removed. ``size`` is in bytes, without what links lead to."""

    kind: Kind
    path: Path
    size: int = 0


@dataclass
class Removal:
    """What ``remove`` has done; ``problems`` has a sentence for each thing that could not be removed."""

    removed: list[Kept] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_kept(temporary_folders: Iterable[str | os.PathLike] | None = None) -> list[Kept]:
    """All that ``remove`` would remove, in that order.

    Parameters
    ----------
    temporary_folders : where runs keep their files; Slicer's default places where not given.
    """
    folders = slicer_temporary_folders() if temporary_folders is None else temporary_folders
    leftovers = [Kept(Kind.LEFTOVER, path, _size(path)) for folder in folders for path in find_leftovers(folder)]
    return [*_kept_models(), *leftovers]


def find_foreign() -> list[Path]:
    """What lies in the user's models folder and is no model of ours: it stays."""
    return [path for path in _children(user_models_folder()) if _model_kind(path) is None]


def foreign_text() -> str:
    """One sentence on ``find_foreign``, or on a models folder that is a link; empty where all of it is ours."""
    folder = user_models_folder()
    link = _link_to_models()
    if link is not None:
        stays = "what it leads to stays" if _ours_by_place(folder) else "it stays, with all that is in it"
        return f"{link} is a link to another folder: {stays}."
    names = [path.name for path in find_foreign()]
    if not names:
        return ""
    shown = ", ".join(names[:_MOST_NAMES])
    if len(names) > _MOST_NAMES:
        shown += f" and {len(names) - _MOST_NAMES} more"
    return f"What is no BiPVL-Seg model stays in {folder}: {shown}."


def remove(kept: Iterable[Kept]) -> Removal:
    """Removes what ``find_kept`` has listed. Where something cannot be removed, the rest is removed all the same."""
    done = Removal()
    for item in kept:
        try:
            if _remove(item):
                done.removed.append(item)
        except OSError as error:
            done.problems.append(
                f"{item.path} cannot be removed ({error.strerror or error}); close programs that use it and try again."
            )
    return done


def slicer_temporary_folders() -> list[Path]:
    """Where Slicer has its temporary folder unless its settings name another one."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name
        user = ""
    return [Path(tempfile.gettempdir()) / name for name in ("Slicer", f"Slicer-{user}")]


def megabytes(size: int) -> str:
    """For example "11.4 MB"."""
    return f"{size / 1e6:.1f} MB"


def _kept_models() -> list[Kept]:
    """Models of the user, then the folders that are empty without them."""
    folder = user_models_folder()
    link = _link_to_models()
    if link is not None:
        return [Kept(Kind.LINK, link)] if _ours_by_place(folder) else []
    if _same(folder, models_folder()):  # $BIPVLSEG_MODELS may name the bundled ones
        return []
    found = []
    for path in _children(folder):
        kind = _model_kind(path)
        if kind is not None:
            found.append(Kept(kind, path, _size(path) if kind is Kind.MODEL else 0))
    for place in (folder, folder.parent) if _ours_by_place(folder) else (folder,):
        if place.is_dir() and set(_children(place)) <= {item.path for item in found}:
            found.append(Kept(Kind.FOLDER, place))
    return found


def _link_to_models() -> Path | None:
    """The user's models folder, or ~/.bipvlseg, where that is a link to another place."""
    folder = user_models_folder()
    places = (folder.parent, folder) if _ours_by_place(folder) else (folder,)
    return next((place for place in places if _is_link(place)), None)


def _model_kind(path: Path) -> Kind | None:
    if not _is_model(path):
        return None
    return Kind.LINK if _is_link(path) else Kind.MODEL


def _is_model(folder: Path) -> bool:
    """Whether its config.json says so. Unlike ``read_config``, models of a newer BiPVLSeg are recognised as well."""
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "bipvlseg"


def _remove(item: Kept) -> bool:
    """Looks once more at what it is, as time has passed since. Returns False where it is gone, or stays because of others."""
    path = item.path
    if not os.path.lexists(path):
        return False
    if _is_link(path) != (item.kind is Kind.LINK):
        raise OSError("it has changed meanwhile")
    if item.kind is Kind.LINK:
        path.unlink()
    elif item.kind is Kind.MODEL:
        if not _is_model(path):
            raise OSError("it is no BiPVL-Seg model any more")
        remove_model(path)
    elif item.kind is Kind.LEFTOVER:
        remove_leftover(path)
    elif _children(path):
        return False
    else:
        path.rmdir()
    return True


def remove_model(folder: Path) -> None:
    """Its config.json goes last, so that a model that cannot be removed completely now is found again."""
    for path in _children(folder):
        if path.name == _CONFIG:
            continue
        if path.is_dir() and not _is_link(path):
            shutil.rmtree(path)
        else:
            path.unlink()
    (folder / _CONFIG).unlink()
    folder.rmdir()


def _ours_by_place(folder: Path) -> bool:
    """Whether it is ~/.bipvlseg/models, and not a folder that the user has named."""
    return not os.environ.get("BIPVLSEG_MODELS") and folder.parent.name == ".bipvlseg"


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # there is none, or it may not be read
        return []


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [Path(folder) / name for folder, _folders, names in os.walk(path) for name in names] or [path]
    total = 0
    for file in files:
        try:
            total += file.lstat().st_size
        except OSError:  # it went meanwhile
            continue
    return total


def _is_link(path: Path) -> bool:
    """Also a junction of Windows."""
    return path.is_symlink() or getattr(os.path, "isjunction", lambda _path: False)(path)


def _same(first: Path, second: Path) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False
