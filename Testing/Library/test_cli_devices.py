"""The command that tells the panel which devices there are."""

from __future__ import annotations

import json

import pytest
import torch

from BiPVLSegLib.cli.main import main


def test_devices_as_json(capsys):
    assert main(["devices", "--json"]) == 0
    event = json.loads(capsys.readouterr().out)
    assert event["event"] == "devices"
    devices = {device["name"]: device for device in event["devices"]}
    assert "cpu" in devices and devices["cpu"]["memory_bytes"] is None
    assert sum(device["auto"] for device in event["devices"]) == 1
    assert len([name for name in devices if name.startswith("cuda")]) == torch.cuda.device_count()


def test_graphics_cards_come_with_name_and_memory(capsys, monkeypatch):
    class Properties:
        total_memory = 16 * 2**30

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: Properties)
    assert main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cuda:0: Card 0, 16.0 GiB (auto)"
    assert lines[1] == "cuda:1: Card 1, 16.0 GiB"
    assert lines[-1].startswith("cpu: ") and "auto" not in lines[-1]


@pytest.mark.parametrize(
    "error, words",
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "The memory is full"),
        (
            RuntimeError("CUDA error: no kernel image is available\nCompile with"),
            "no kernel image is available); use --device cpu",
        ),
        (RuntimeError("Found no NVIDIA driver on your system."), "update its driver"),
    ],
)
def test_a_graphics_card_that_fails_is_a_sentence(monkeypatch, capsys, error, words):
    def fail(options):
        raise error

    monkeypatch.setattr("BiPVLSegLib.cli.devices.run", fail)
    assert main(["devices"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
    with pytest.raises(RuntimeError):
        main(["devices", "--traceback"])


def test_other_errors_keep_their_traceback(monkeypatch):
    def fail(options):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("BiPVLSegLib.cli.devices.run", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        main(["devices"])
