"""Lists the devices that a model can run on: the processor and each graphics card with its memory."""

from __future__ import annotations

import argparse
import json

NAME, HELP = "devices", "list the devices that a model can run on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help='one JSON line: {"event": "devices", "devices": [...]}')


def run(options: argparse.Namespace) -> None:
    devices = list_devices()
    if options.json:
        print(json.dumps({"event": "devices", "devices": devices}), flush=True)
        return
    for device in devices:
        memory = device["memory_bytes"]
        size = f", {memory / 2**30:.1f} GiB" if memory else ""
        print(f"{device['name']}: {device['title']}{size}{' (auto)' if device['auto'] else ''}")


def list_devices() -> list[dict]:
    """The devices by the name that ``--device`` takes, best first as ``auto`` would take them.

    Each is ``{"name": "cuda:0", "title": ..., "memory_bytes": int | None, "auto": bool}``; ``auto`` is true for the one that
    ``--device auto`` means. The memory is all of the graphics card's, None where it shares that of the computer.
    """
    import torch

    from ..inference.device import describe_device, resolve_device

    names = [f"cuda:{index}" for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)]
    if torch.backends.mps.is_available():
        names.append("mps")
    names.append("cpu")
    automatic = str(resolve_device("auto"))
    return [
        {
            "name": name,
            "title": describe_device(torch.device(name)),
            "memory_bytes": torch.cuda.get_device_properties(name).total_memory if name.startswith("cuda") else None,
            "auto": name == automatic,
        }
        for name in names
    ]
