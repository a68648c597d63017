"""Says in a sentence why packages could not be installed, from the lines that pip printed. No Qt."""

from __future__ import annotations

from slicer.i18n import tr as _

_NETWORK = (
    "newconnectionerror",
    "failed to establish a new connection",
    "name resolution",
    "name or service not known",
    "getaddrinfo failed",
    "network is unreachable",
    "max retries exceeded",
    "connection refused",
    "connection timed out",
    "connecttimeout",
    "read timed out",
    "connection aborted",
    "connection broken",
    "remotedisconnected",
    "urlopen error",
)
_BLOCKED = ("proxyerror", "tunnel connection failed", "certificate_verify_failed", "sslerror", "ssl: ")
_DISK = ("no space left on device", "not enough space on the disk", "errno 28")
_FORBIDDEN = ("permission denied", "access is denied", "errno 13", "winerror 5", "read-only file system")
_CONFLICT = ("resolutionimpossible", "conflicting dependencies")


def isOffline(log: str) -> bool:
    """Whether pip failed because it reached no server."""
    return _mentions(log, _NETWORK) or _mentions(log, _BLOCKED)


def failureText(log: str) -> str:
    """What went wrong and what to do, in a sentence or two."""
    if _mentions(log, _DISK):
        return _("The disk is full. Free some space and install again.")
    if _mentions(log, _FORBIDDEN):
        return _(
            "Slicer's folder cannot be written. Install Slicer in a folder of your own, or ask the administrator of this "
            "computer or its antivirus program to allow it, and install again."
        )
    if _mentions(log, _BLOCKED):
        return _(
            "The connection to the package servers is blocked by a proxy or a firewall. Ask your network administrator, or "
            "install without a connection as described in the details."
        )
    if isOffline(log):
        return _(
            "There is no connection to the internet. Connect this computer and install again, or install without a "
            "connection as described in the details."
        )
    if _mentions(log, _CONFLICT):
        return _(
            "Another extension has put packages into this Slicer that BiPVLSeg cannot work with; nothing was changed. Try "
            "a fresh installation of Slicer."
        )
    return _("The installation failed; the details say why. Restart Slicer and install again.")


def offlineHelp(requirementsFile, torchRequirement: str) -> str:
    """How to install on a computer without a connection."""
    import platform

    return _(
        "Installing without a connection:\n"
        "1. On a computer with internet, the same operating system and Python {python}, copy the file {file} and run:\n"
        '   pip download "{torch}" torchvision -r requirements.txt -d wheels\n'
        "   (for a graphics card, take the command for torch from pytorch.org).\n"
        "2. Copy the folder wheels to this computer.\n"
        "3. In Slicer's Python console, with the path of that folder:\n"
        "   import slicer.packaging\n"
        "   slicer.packaging.pip_install(['--no-index', '--find-links', '/path/of/wheels', '{torch}', 'torchvision', "
        "'-r', r'{file}'])\n"
        "4. Restart Slicer."
    ).format(python=".".join(platform.python_version_tuple()[:2]), file=requirementsFile, torch=torchRequirement)


def _mentions(log: str, signs: tuple[str, ...]) -> bool:
    low = log.lower()
    return any(sign in low for sign in signs)
