"""What a user relies on when a model folder is damaged, incomplete or too new: a sentence, and never a pickle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_models import HEART, images, logits_of, tiny_model

from BiPVLSegLib.errors import ModelError
from BiPVLSegLib.model import BiPVLSegModel, load_model
from BiPVLSegLib.model_store import available_models

# ---------------------------------------------------------------- files that cannot be loaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refusal(folder: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    return sentence


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_weights_stored_in_half_precision_load_as_float32(tmp_path: Path) -> None:
    model = tiny_model()
    model.half().save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert {t.dtype for t in loaded.state_dict().values() if t.is_floating_point()} == {torch.float32}
    assert all(torch.equal(t, loaded.state_dict()[key].to(t.dtype)) for key, t in model.state_dict().items())
    assert logits_of(loaded, images(model.config, batch=1), HEART).isfinite().all()


def test_a_pickle_is_never_read(folder: Path) -> None:
    marker = folder / "executed"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (marker,))

    (folder / "model.safetensors").unlink()
    torch.save({"head": Trap()}, folder / "pytorch_model.bin")
    assert "model.safetensors" in refusal(folder)
    with pytest.raises((OSError, ValueError)):
        BiPVLSegModel.from_pretrained(folder)
    assert not marker.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped header"])
def test_damaged_weights_are_refused(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(
        {
            "truncated": data[: len(data) // 2],
            "empty": b"",
            "text": b"this is no model" * 100,
            "flipped header": data[:20] + bytes(255 - b for b in data[20:200]) + data[200:],
        }[damage]
    )
    sentence = refusal(folder)
    assert "model.safetensors" in sentence and "copy the model folder again" in sentence


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    edit_config(folder, widths=[4, 4, 8, 8, 16])
    assert "do not fit" in refusal(folder) or "cannot be loaded" in refusal(folder)


def test_weights_that_miss_a_tensor_are_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["head.background"]
    save_file(tensors, path, metadata={"format": "pt"})
    assert "head.background" in refusal(folder)


def test_a_newer_format_asks_for_an_update(folder: Path) -> None:
    edit_config(folder, format_version=99)
    assert "update BiPVLSeg" in refusal(folder)


@pytest.mark.parametrize("version", ["1", None, [2]])
def test_a_format_version_that_is_no_number_is_refused(folder: Path, version) -> None:
    edit_config(folder, format_version=version)
    refusal(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"model_type": "bert"}', '{"model_type": "bipvlseg", "encoder": "vgg"}']
)
def test_a_damaged_config_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert str(folder) in refusal(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in refusal(folder)


def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    assert str(folder) in refusal(folder)


def test_an_unknown_name_lists_the_known_ones(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("BIPVLSEG_MODELS", str(folder.parent))
    assert available_models()["model"] == folder
    assert load_model("MODEL").config.widths == [4, 4, 8, 8, 8]
    sentence = refusal("no-such-model")
    assert "no-such-model" in sentence and "model" in sentence.split("Known models:")[1]
    assert "config.json" in refusal(folder.parent)


def test_loading_prints_nothing(folder: Path, capfd) -> None:
    capfd.readouterr()
    load_model(folder)
    out, err = capfd.readouterr()
    assert out == "" and err == ""
