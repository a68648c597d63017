"""Training for weights of few bits: what is trained, judged and written is what a file of so many bits holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import a_run

from BiPVLSegLib.errors import TrainingError
from BiPVLSegLib.model import compact
from BiPVLSegLib.model.compact import load_compact, save_compact
from BiPVLSegLib.tools.bundle_model import bundle
from BiPVLSegLib.training.loop import train

BITS = 3


@pytest.fixture(autouse=True)
def small_tensors_are_rounded_too(monkeypatch):
    monkeypatch.setattr(compact, "SMALL", 64)


@pytest.fixture
def settings(settings: list[str]) -> list[str]:
    return [*settings, f"bits={BITS}"]


def rounded_keys(state: dict[str, torch.Tensor]) -> list[str]:
    return [key for key, value in state.items() if not key.startswith("text.") and compact.is_rounded(value)]


def is_in_its_bits(key: str, tensor: torch.Tensor) -> bool:
    return len(tensor[0].unique()) <= 2 ** compact.own_bits(key, tensor, BITS) - 1


def test_a_step_meets_the_weights_that_a_file_would_give_back(data, settings, tmp_path: Path) -> None:
    run = a_run(data, settings)
    full = {key: value.clone() for key, value in run.trained_state().items()}
    save_compact(full, tmp_path / "w.safetensors", BITS)
    stored, keys = load_compact(tmp_path / "w.safetensors"), rounded_keys(full)
    with run.rounding.applied(step=0):
        inside = {key: value.clone() for key, value in run.model.state_dict().items()}
    assert len(keys) > 20 and not torch.equal(inside[keys[0]], full[keys[0]])
    assert all(torch.allclose(inside[key], stored[key], rtol=1e-6, atol=0) for key in keys)
    assert all(torch.equal(value, full[key]) for key, value in run.trained_state().items())


def test_what_was_trained_is_bundled_without_a_further_loss(data, settings, tmp_path: Path) -> None:
    train([data], None, "acdc", tmp_path / "run", settings)
    bundle(tmp_path / "run" / "last", tmp_path / "shipped", bits=BITS)
    trained = load_file(tmp_path / "run" / "last" / "model.safetensors")
    shipped, keys = load_compact(tmp_path / "shipped" / "model.safetensors"), rounded_keys(trained)
    assert all(torch.allclose(trained[key], shipped[key], rtol=1e-5, atol=0) for key in keys if key in shipped)
    assert all(is_in_its_bits(key, trained[key]) for key in keys)
    state = load_file(tmp_path / "run" / "last" / "training_state.safetensors")
    assert not all(is_in_its_bits(key, state[f"model.{key}"]) for key in keys), "the optimiser keeps the full ones"


def test_such_a_run_is_resumed_exactly(data, settings, tmp_path: Path) -> None:
    train([data], None, "acdc", tmp_path / "whole", settings)
    train([data], None, "acdc", tmp_path / "parts", settings, stop_after=3)
    train([data], None, "acdc", tmp_path / "parts", settings, resume=True)
    whole, parts = (load_file(tmp_path / name / "last" / "training_state.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_rehearsal_teaches_for_few_bits_and_keeps_the_bits_of_what_sees(data, settings, tmp_path: Path) -> None:
    train([data], None, "acdc", tmp_path / "first", settings)
    start = tmp_path / "first" / "last"
    train([data], None, "acdc", tmp_path / "words", [*settings, f"init_from={start}", "rehearsal=60", "steps=0"])
    before, after = (load_file(f / "model.safetensors") for f in (start, tmp_path / "words" / "last"))
    keys = rounded_keys(before)
    same = {key for key in keys if torch.allclose(before[key], after[key], rtol=1e-5, atol=0)}
    assert all(is_in_its_bits(key, after[key]) for key in keys)
    assert {key for key in keys if key.startswith(("encoder.", "decoder."))} <= same
    assert any(key.startswith("head.") for key in set(keys) - same)


def test_bits_that_make_no_sense_are_refused(data, settings) -> None:
    with pytest.raises(TrainingError, match="bits must be 0 or a whole number from 2 to 8, not 1"):
        a_run(data, [*settings, "bits=1"])
