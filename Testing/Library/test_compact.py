"""Weights in eight bits or fewer: a model that ships computes what it computed before, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import HEART, images, logits_of

from BiPVLSegLib.errors import ModelError
from BiPVLSegLib.model import BiPVLSegConfig, build_model, compact, load_model
from BiPVLSegLib.model.compact import METADATA, is_compact, load_compact, save_compact
from BiPVLSegLib.model.text_encoder import text_encoder_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network with the bundled text encoder, and its folder with weights of eight bits."""
    torch.manual_seed(0)
    config = BiPVLSegConfig(widths=(16, 16, 32, 32, 32), fusion_mlp=32, classes=HEART.names)
    model = build_model(config, "minilm").eval()
    folder = tmp_path_factory.mktemp("models") / "small"
    model.save_pretrained(folder)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("text.bert.")}
    save_compact(state, folder / "model.safetensors")
    return model, folder


def test_a_compact_model_loads_as_any_and_answers_the_same(trained):
    model, folder = trained
    loaded = load_model(folder)
    assert is_compact(folder / "model.safetensors") and all(p.dtype == torch.float32 for p in loaded.parameters())
    image = images(model.config)
    with torch.inference_mode():
        expected, found = logits_of(model, image, HEART), logits_of(loaded, image, HEART)
    assert not torch.equal(expected, found), "it was stored in eight bits"
    assert (expected - found).std() < 0.03 * expected.std()


def test_it_takes_little_more_than_a_byte_per_weight(trained):
    model, folder = trained
    weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("text.bert."))
    assert (folder / "model.safetensors").stat().st_size < 1.3 * weights + 50_000


def test_every_weight_is_within_half_a_step_of_its_channel(tmp_path: Path):
    torch.manual_seed(0)
    state = {
        "kernel": torch.randn(64, 8, 3, 3, 3) * torch.logspace(-3, 1, 64).view(-1, 1, 1, 1, 1),
        "count": torch.tensor(7),
    }
    state["zeros"], state["bias"] = torch.zeros(64, 64), torch.randn(64)
    save_compact(state, tmp_path / "w.safetensors")
    loaded = load_compact(tmp_path / "w.safetensors")
    assert loaded.keys() == state.keys() and loaded["count"] == 7 and not loaded["zeros"].any()
    step = state["kernel"].flatten(1).abs().amax(1) / 127
    error = (loaded["kernel"] - state["kernel"]).flatten(1).abs().amax(1)
    assert (error <= 0.501 * step).all()
    assert torch.allclose(loaded["bias"], state["bias"], rtol=1e-3)


def test_a_missing_scale_is_a_sentence(trained, tmp_path: Path):
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(trained[1], folder)
    tensors = load_file(folder / "model.safetensors")
    key = next(key for key in tensors if key.endswith(".scale"))
    save_file({k: v for k, v in tensors.items() if k != key}, folder / "model.safetensors", METADATA)
    with pytest.raises(ModelError, match="scale of .* is missing.*copy the model folder again"):
        load_model(folder)


@pytest.mark.parametrize("bits", [2, 5, 6, 7])
def test_fewer_bits_take_less_room_and_err_less_than_even_steps_up_to_the_largest_weight(tmp_path: Path, bits: int):
    torch.manual_seed(0)
    state = {"kernel": torch.randn(67, 7, 3, 1, 3), "bias": torch.randn(67)}  # no row ends at a whole byte
    save_compact(state, tmp_path / "w.safetensors", bits)
    loaded = load_compact(tmp_path / "w.safetensors")
    assert loaded.keys() == state.keys() and loaded["kernel"].shape == state["kernel"].shape
    rows, found = state["kernel"].flatten(1), loaded["kernel"].flatten(1)
    step = rows.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    error, even = ((rows - other).square().sum(1) for other in (found, (rows / step).round() * step))
    assert (error <= even * 1.001).all() and (bits > 5 or error.sum() < 0.99 * even.sum())
    room = 1.65 if bits == 2 else bits  # five of the three numbers in a byte
    assert (tmp_path / "w.safetensors").stat().st_size < state["kernel"].numel() * room / 8 + 67 * (4 + 1 + 2) + 600


def test_two_bits_with_four_numbers_in_a_byte_are_still_read(tmp_path: Path):
    numbers = torch.randint(-1, 2, (64, 65))
    digits = torch.nn.functional.pad(numbers + 1, (0, 3)).view(64, 17, 4)
    packed = (digits * torch.tensor([64, 16, 4, 1])).sum(-1).to(torch.uint8)
    file = {"kernel": packed, "kernel.scale": torch.full((64,), 0.5), "kernel.shape": torch.tensor([64, 65])}
    save_file(file, tmp_path / "w.safetensors", {**METADATA, "bits": "2"})
    assert torch.equal(load_compact(tmp_path / "w.safetensors")["kernel"], 0.5 * numbers)


def test_what_reads_texts_takes_more_bits(tmp_path: Path):
    torch.manual_seed(0)
    state = {key: torch.randn(64, 1000) for key in ("encoder.weight", "fusion.2.weight", "head.weight")}
    save_compact(state, tmp_path / "w.safetensors", 3)
    loaded = load_compact(tmp_path / "w.safetensors")
    numbers = [len(torch.unique(tensor[0])) for tensor in loaded.values()]
    assert numbers[0] <= 7 < numbers[1] <= 15 < 31 < numbers[2] <= 63


def test_the_largest_kernels_take_one_bit_less(tmp_path: Path, monkeypatch):
    torch.manual_seed(0)
    state = {"deep": torch.randn(64, 1000), "thin": torch.randn(64, 100)}
    monkeypatch.setattr(compact, "LARGE", 64_000)
    save_compact(state, tmp_path / "w.safetensors", 5)
    loaded = load_compact(tmp_path / "w.safetensors")
    assert loaded.keys() == state.keys()
    assert [
        len(torch.unique(loaded[key][0])) <= 2**bits - 1 for key, bits in (("deep", 4), ("thin", 4), ("thin", 5))
    ] == [True, False, True]
    assert all((loaded[key] - state[key]).std() < 0.15 for key in state)


@pytest.mark.parametrize("lost", [".scale", ".shape"])
def test_packed_weights_without_scale_or_shape_are_refused(tmp_path: Path, lost: str):
    save_compact({"kernel": torch.randn(64, 256)}, tmp_path / "w.safetensors", 6)
    tensors = load_file(tmp_path / "w.safetensors")
    kept = {key: value for key, value in tensors.items() if not key.endswith(lost)}
    save_file(kept, tmp_path / "w.safetensors", {**METADATA, "bits": "6"})
    with pytest.raises(ValueError, match=f"the {lost[1:]} of kernel is missing"):
        load_compact(tmp_path / "w.safetensors")


def test_bits_that_make_no_sense_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="2 to 8"):
        save_compact({"kernel": torch.randn(64, 256)}, tmp_path / "w", 1)


def test_the_shared_text_encoder_is_packed_and_knows_what_words_mean(trained):
    file = text_encoder_folder("minilm") / "model.safetensors"
    assert is_compact(file) and file.stat().st_size < 13e6
    texts = ["left kidney", "renal organ on the left", "right atrium of the heart", "cardiac chamber on the right"]
    with torch.inference_mode():
        kidney, renal, atrium, chamber = torch.nn.functional.normalize(trained[0].text.encode_texts(texts), dim=1)
    assert min(kidney @ renal, atrium @ chamber) > max(kidney @ atrium, kidney @ chamber, renal @ atrium)
