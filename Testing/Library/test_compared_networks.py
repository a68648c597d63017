"""The networks that ours is compared with: right shapes, their own originals' logits, and files that load again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import SwinUNETR
from tiny_data import write_hearts
from tiny_models import HEART, SWIN, tiny_config, tiny_model
from tiny_training import a_run, small, write_bert

from BiPVLSegLib.model import BiPVLSegModel, build_model, load_model
from BiPVLSegLib.model.loading import quiet

SWIN_SIZE = {key: value for key, value in SWIN.items() if key != "encoder"}
WITHOUT_TEXT = {"use_text": False, "head": "fixed"}
NETWORKS = {
    "dynunet": WITHOUT_TEXT,
    "swin-unetr": {**WITHOUT_TEXT, **SWIN_SIZE},
    "swin-unetr-2d": {**WITHOUT_TEXT, **SWIN_SIZE},
    "clip-driven": {"fusion_direction": "none"},
}
STACK = {"kernels": ((3, 3, 1),) * 5, "strides": ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2))}


def a_network(name: str, **changes):
    return tiny_model(network=name, **{**NETWORKS[name], **changes})


def a_patch(seed: int = 1) -> torch.Tensor:
    """Two cells at the deepest grid of all networks."""
    return torch.randn(1, 1, 64, 32, 32, generator=torch.Generator().manual_seed(seed))


def texts_of(model):
    return model.encode(HEART) if model.text is not None else None


@torch.inference_mode()
def logits_of(model, image: torch.Tensor) -> torch.Tensor:
    return model(image, texts_of(model))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("nested", [False, True])
def test_logits_have_the_size_of_the_patch_and_a_channel_per_class(name: str, nested: bool) -> None:
    model = a_network(name, nested=nested, **STACK)
    image = torch.randn(2, 1, 64, 32, 8)  # no multiple of 32
    logits = logits_of(model, image)
    assert logits.shape == (2, 3 if nested else 4, 64, 32, 8) and logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_loads_as_the_same_network(name: str, tmp_path: Path) -> None:
    model = a_network(name, auxiliary_head=True)
    with quiet():
        model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model) and type(loaded) is not BiPVLSegModel
    image = a_patch()
    torch.testing.assert_close(logits_of(loaded, image), logits_of(model, image))


def test_swin_unetr_is_monais_own_and_only_padded_and_cropped() -> None:
    model = a_network("swin-unetr")
    assert type(model.network) is SwinUNETR
    image = torch.randn(1, 1, 64, 64, 40)
    whole = torch.nn.functional.pad(image, (12, 12, 0, 0, 0, 0), mode="replicate")
    with torch.inference_mode():
        assert torch.equal(model(image), model.network(whole)[..., 12:52])
        assert torch.equal(model(whole), model.network(whole))


def test_swin_unetr_slice_by_slice_sees_each_slice_alone_in_its_place() -> None:
    model = a_network("swin-unetr-2d")
    image = torch.randn(2, 1, 64, 32, 5)
    other = image.clone()
    other[1, :, :, :, 3] += 1
    with torch.inference_mode():
        logits = model(image)
        torch.testing.assert_close(logits[0, ..., 2], model(image[:1, ..., 2:3])[0, ..., 0])
        changed = (model(other) - logits).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert logits.shape[2:] == image.shape[2:]
    assert changed[1, 3] and changed.sum() == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trains_in_bf16_as_it_does_in_full_precision(name: str) -> None:
    model = a_network(name, auxiliary_head=True).train()
    image, text = a_patch(), texts_of(model)
    full = model(image, text, training_output=True).logits
    with torch.autocast("cpu", torch.bfloat16):
        half = model(image, text, training_output=True)
    (half.logits.float().square().mean() + sum(level.float().square().mean() for level in half.auxiliary)).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert (half.logits.float() - full).abs().mean() < 0.1 * full.abs().mean() + 0.01


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_trained(name: str) -> None:
    model = a_network(name, auxiliary_head=True).train()
    if model.text is not None:
        model.text.bert.requires_grad_(False)
    out = model(a_patch(), texts_of(model), training_output=True)
    assert bool(out.auxiliary) == (not name.startswith("swin-unetr"))
    assert all(level.shape[1] == 4 for level in out.auxiliary)
    (out.logits.square().mean() + sum(level.square().mean() for level in out.auxiliary)).backward()
    without = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, without


def test_the_clip_driven_head_follows_its_texts() -> None:
    model = a_network("clip-driven")
    image, rows = a_patch(), list(HEART)
    with torch.inference_mode():
        logits = model(image, model.encode(rows))
        swapped = model(image, model.encode(rows[::-1]))
        alone = model(image, model.encode(rows[1:2]))
        mask = torch.tensor([[True, False, True]] * len(image))
        masked = model(image, model.encode(rows), mask)
    torch.testing.assert_close(swapped[:, [0, 3, 2, 1]], logits)
    torch.testing.assert_close(alone, logits[:, [0, 2]])
    assert not torch.allclose(logits[:, 1], logits[:, 2])
    assert masked.softmax(1)[:, 2].max() == 0 and torch.equal(masked[:, [0, 1, 3]], logits[:, [0, 1, 3]])


def test_the_clip_driven_head_reads_the_whole_image() -> None:
    """Kernels depend on the image: a far corner changes logits that no convolution connects with it."""
    model = a_network("clip-driven")
    features = torch.randn(1, model.decoder.widths[0], 4, 4, 4)
    classes = torch.randn(1, 3, model.text.width)
    deep = torch.randn(2, 1, model.encoder.widths[-1], 2, 2, 2)
    with torch.inference_mode():
        first, second = (model.head(features, d, classes) for d in deep)
    assert not torch.allclose(first, second)


def test_variants_of_one_backbone_start_from_the_same_weights() -> None:
    def start(**changes) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        state = build_model(tiny_config(auxiliary_head=True, **changes), text_encoder=None).state_dict()
        return {key: value for key, value in state.items() if key.startswith(("encoder.", "decoder."))}

    ours = start()
    for changes in (
        WITHOUT_TEXT,
        {"head": "fixed"},
        {"fusion_stages": (4,)},
        {"network": "clip-driven", "fusion_direction": "none"},
    ):
        other = start(**changes)
        assert ours.keys() == other.keys() and all(torch.equal(ours[key], other[key]) for key in ours)


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "dynunet"},
        {"network": "swin-unetr", "head": "fixed"},
        {"network": "clip-driven"},
        {"network": "unet"},
    ],
)
def test_settings_that_do_not_fit_the_network_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match=settings["network"]):
        tiny_config(**settings)


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_on_a_map_that_a_network_does_not_have_are_left_out(name: str, tmp_path: Path) -> None:
    settings = [f"model.{key}={value}" for key, value in {"network": name, **NETWORKS[name]}.items()]
    run = a_run(write_hearts(tmp_path / "data"), [*small(write_bert(tmp_path / "bert")), *settings])
    assert set(run.losses) == {"segmentation", "total"}
