"""What users of the network rely on: texts keep their class, masks hide, models survive saving, bad files get a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import BERT, HEART, PAPER, SWIN, images, logits_of, tiny_config, tiny_model

from BiPVLSegLib.concepts import TEXT_FIELDS, Concept, load_concepts
from BiPVLSegLib.concepts.csv_io import TEXT_COLUMNS
from BiPVLSegLib.errors import BiPVLError, ConceptError, ModelError
from BiPVLSegLib.losses import AlignmentLoss, ClassEmbeddingLoss, SegmentationLoss, deep_supervision_loss
from BiPVLSegLib.model import BiPVLSegModel, TextTokens, bifusion, build_model, load_model, paper_config
from BiPVLSegLib.model.bifusion import Attention
from BiPVLSegLib.model.heads import prototype_logits
from BiPVLSegLib.model.text_encoder import bert_settings, load_tokenizer, text_encoder_folder

REPOSITORY = Path(__file__).resolve().parents[2]
HEART_TEXTS = [text for concept in HEART for text in concept.texts]
TOKEN_MODES = [
    pytest.param({}, id="concepts"),
    pytest.param({"text_tokens": "words", "text_stage_ends": (1, 1, 2, 3, 3)}, id="words"),
]


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, atol=2e-5, rtol=1e-4)


# ---------------------------------------------------------------- texts and their classes


def chosen(text: TextTokens, classes: list[int] | torch.Tensor) -> TextTokens:
    """These classes alone, in this order."""
    return TextTokens(text.tokens[:, classes], text.mask[:, classes])


@pytest.mark.parametrize("mode", TOKEN_MODES)
def test_permuting_the_rows_permutes_the_channels(mode: dict) -> None:
    model = tiny_model(**mode)
    image = images(model.config)
    order = [2, 0, 1]
    plain = logits_of(model, image, HEART)
    permuted = logits_of(model, image, [HEART.concepts[i] for i in order])
    assert close(permuted[:, 0], plain[:, 0])
    assert close(permuted[:, 1:], plain[:, 1:][:, order])
    assert not close(permuted, plain)


def test_a_permutation_is_followed_by_maps_visual_embeddings_and_masks_too() -> None:
    model = tiny_model()
    image, order = images(model.config), [2, 0, 1]
    mask = torch.tensor([[True, True, False], [True, False, True]])
    with torch.inference_mode():
        text = model.encode(HEART)
        plain = model(image, text, mask, training_output=True)
        permuted = model(image, chosen(text, order), mask[:, order], training_output=True)
    assert close(permuted.class_map[:, 1:], plain.class_map[:, 1:][:, order])
    assert close(permuted.visual, plain.visual[:, order])
    assert close(permuted.logits[:, 1:], plain.logits[:, 1:][:, order])


@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("nested", [False, True])
def test_the_number_of_classes_is_free(rows: int, nested: bool) -> None:
    model = tiny_model(nested=nested)
    concepts = load_concepts("brain-mr").concepts[:rows]
    logits = logits_of(model, images(model.config, batch=1), concepts)
    assert logits.shape[1] == (rows if nested else rows + 1)
    assert logits.isfinite().all()


@pytest.mark.parametrize("mode", TOKEN_MODES)
@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_editing_one_text_of_one_class_changes_the_logits_of_that_class_most(mode: dict, field: str) -> None:
    # Without fusion the classes meet nowhere, so that the edit must act on its own channel and on no other.
    model = tiny_model(fusion_direction="none", **mode)
    image = images(model.config, batch=1)
    edited = HEART.replace("left ventricle", **{field: "A dark rectangle beside the liver"})
    change = (logits_of(model, image, edited) - logits_of(model, image, HEART)).abs().amax((0, 2, 3, 4))
    assert change[3] > 1e-4
    assert change[:3].max() == 0


@pytest.mark.parametrize("mode", TOKEN_MODES)
def test_editing_a_text_changes_the_image_features_through_fusion(mode: dict) -> None:
    model = tiny_model(**mode)
    image = images(model.config, batch=1)
    edited = HEART.replace("left ventricle", shape="A dark rectangle beside the liver")
    change = (logits_of(model, image, edited) - logits_of(model, image, HEART)).abs().amax((0, 2, 3, 4))
    assert change[1:3].min() > 1e-6  # the other classes: a fresh background is 0 everywhere


def test_a_missing_concept_counts_as_missing_and_not_as_an_empty_text() -> None:
    model = tiny_model()
    text = model.encode([replace(HEART.concepts[0], shape="", texture=""), HEART.concepts[1]])
    assert text.mask[0].tolist() == [[True, False, True, True, True, False], [True] * 6]
    assert torch.equal(text.tokens[0, 0, 1], torch.zeros(BERT["hidden_size"]))


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("mode", TOKEN_MODES)
def test_rows_that_stand_for_no_class_do_not_change_the_others(mode: dict) -> None:
    model = tiny_model(**mode)
    image = images(model.config)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    with torch.inference_mode():
        text = model.encode(HEART)
        padded = model(image, text, mask, training_output=True)
        alone = model(image[:1], chosen(text, [0, 1]), training_output=True)
        complete = model(image[1:], text, training_output=True)
    assert close(padded.logits[:1, :3], alone.logits)
    assert close(padded.class_map[:1, :3], alone.class_map)
    assert close(padded.visual[:1, :2], alone.visual)
    assert close(padded.logits[1:], complete.logits)
    probability = padded.logits[0].softmax(0)
    assert probability[3].max() == 0


def test_a_sample_of_which_no_row_is_asked_stays_finite_with_finite_gradients() -> None:
    model = tiny_model()
    image = images(model.config)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    out = model(image, model.encode(HEART), mask, training_output=True)
    loss = SegmentationLoss()(out.logits, torch.zeros_like(image[:, 0], dtype=torch.int64), mask)
    loss = loss + ClassEmbeddingLoss()(out.class_map, out.logits, mask) + out.visual.sum()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_training_sees_what_use_will_see() -> None:
    """A CPU trains with plain products in place of the fused kernel of attention."""
    model = tiny_model().eval()
    image, text = images(model.config), model.encode(HEART)
    trained = model(image.requires_grad_(), text)
    with torch.no_grad():
        used = model(image, text)
    assert trained.requires_grad and close(trained, used)


@pytest.mark.parametrize(("queries", "keys"), [(40, 6), (6, 40)], ids=["image to text", "text to image"])
def test_plain_products_are_attention_with_its_gradients(queries: int, keys: int, monkeypatch) -> None:
    """With masked keys, both ways round: the longer side lies innermost."""
    torch.manual_seed(0)
    attention = Attention(16, heads=2, ratio=0.5)
    asked, seen = torch.randn(3, queries, 16), torch.randn(3, keys, 16)
    mask = torch.rand(3, keys) > 0.3
    results = []
    for few in (0, bifusion.FEW_SCORES):
        monkeypatch.setattr(bifusion, "FEW_SCORES", few)
        inputs = [asked.clone().requires_grad_(), seen.clone().requires_grad_()]
        out = attention(*inputs, mask)
        results.append([out, *torch.autograd.grad(out.square().sum(), [*inputs, *attention.parameters()])])
    assert all(torch.allclose(fused, plain, atol=1e-5) for fused, plain in zip(*results, strict=True))
    assert not mask.all() and (results[1][2][~mask] == 0).all()


@pytest.mark.parametrize("mode", TOKEN_MODES)
def test_padding_tokens_do_not_change_the_result(mode: dict) -> None:
    model = tiny_model(**mode)
    image = images(model.config)
    with torch.inference_mode():
        text = model.encode(HEART)
        garbage = 5 * torch.randn(1, 3, 4, text.tokens.shape[-1])
        tokens = torch.cat([text.tokens, garbage], 2)
        mask = torch.cat([text.mask, torch.zeros(1, 3, 4, dtype=torch.bool)], 2)
        padded = model(image, TextTokens(tokens, mask), training_output=True)
        plain = model(image, text, training_output=True)
    assert close(padded.logits, plain.logits)
    assert close(padded.visual, plain.visual)


@pytest.mark.parametrize("mode", TOKEN_MODES)
def test_a_long_text_of_one_class_does_not_change_the_tokens_of_another(mode: dict) -> None:
    model = tiny_model(**mode)
    long = HEART.replace("left ventricle", shape=" ".join(["A round bright disc inside a ring of muscle."] * 6))
    plain, longer = (model.encode(concepts) for concepts in (HEART, long))
    own = plain.mask[0, 0]
    assert torch.equal(longer.mask[0, 0][: len(own)], own)
    assert close(longer.tokens[0, 0][: len(own)][own], plain.tokens[0, 0][own])


def test_one_table_serves_a_whole_batch() -> None:
    model = tiny_model()
    image = images(model.config, batch=3)
    together = logits_of(model, image, HEART)
    one_by_one = torch.cat([logits_of(model, image[i : i + 1], HEART) for i in range(3)])
    assert close(together, one_by_one)


def test_a_row_of_two_prototypes_is_the_union_of_what_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    features, weights = torch.randn(1, 4, 6, 6, 6, generator=generator), torch.randn(1, 3, 1, 5, generator=generator)
    background = torch.tensor([0.0, 0, 0, 0, 0.5])
    parts = prototype_logits(features, weights, background).argmax(1)
    both, third = weights[:, :2].transpose(1, 2), weights[:, 2:].expand(-1, -1, 2, -1)
    whole = prototype_logits(features, torch.cat([both, third], 1), background).argmax(1)
    assert {int(label) for label in parts.unique()} == {0, 1, 2, 3}
    assert torch.equal(whole == 1, (parts == 1) | (parts == 2))
    assert torch.equal(whole == 2, parts == 3)


# ---------------------------------------------------------------- every layer is trained and saved

VARIANTS = {
    "default": {},
    "all switches on": {"auxiliary_head": True, "fusion_stages": (1, 2, 3, 4), "fusion_depth": 2},
    "words": {"text_tokens": "words", "text_stage_ends": (1, 1, 2, 3, 3)},
    "paper": PAPER,
    "swin, class-bound": {**SWIN, "fusion_stages": (1, 2, 3, 4)},
    "nested": {"nested": True, "auxiliary_head": True},
    "nested, fixed": {"nested": True, "head": "fixed", "text_tokens": "words", "text_stage_ends": (1, 1, 2, 2, 3)},
    "no text": {"use_text": False, "head": "fixed"},
    "no fusion": {"fusion_direction": "none"},
    "head without own words": {"head_own_words": False},
    "two prototypes": {"head_prototypes": 2},
    "two prototypes, nested": {"head_prototypes": 2, "nested": True},
    "image to text": {"fusion_direction": "image-to-text"},
    "text to image": {"fusion_direction": "text-to-image"},
    "text to image, paper": {**PAPER, "fusion_direction": "text-to-image"},
    "last stage only": {"fusion_stages": (4,)},
    "last stage only, paper": {**PAPER, "fusion_stages": (4,)},
    "first stage only, paper": {**PAPER, "fusion_stages": (1,), "text_stage_ends": (1, 3, 3, 3, 3)},
    "four channels": {"in_channels": 4},
    "anisotropic": {
        "kernels": [[3, 3, 1], [3, 3, 1], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]],
        "blocks": [2, 1, 1, 1, 2],
    },
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request) -> dict:
    return request.param


def training_loss(model: BiPVLSegModel) -> torch.Tensor:
    """All losses of training on random patches that show every class."""
    nested, count = model.config.nested, len(HEART)
    image = images(model.config)
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, count + 1, image[:, 0].shape, generator=generator)
    target = torch.stack([(label >= i).float() for i in range(1, count + 1)], 1) if nested else label
    text = model.encode(HEART) if model.text is not None else None
    out = model(image, text, training_output=True)
    segmentation = SegmentationLoss(nested)
    loss = segmentation(out.logits, target) + ClassEmbeddingLoss(nested)(out.class_map, out.logits)
    if out.auxiliary:
        loss = loss + deep_supervision_loss(segmentation, out.auxiliary, target)
    if model.text is not None:
        vectors = model.text.encode_texts([text for concept in HEART for text in concept.texts[1:]])
        concepts = model.class_embeddings.project_text(vectors).view(count, 5, -1)
        loss = loss + AlignmentLoss(noise=0)(out.visual[0], concepts)
    else:
        loss = loss + out.visual.square().mean()
    return loss


def test_every_parameter_gets_a_gradient(variant: dict) -> None:
    model = tiny_model(**variant)
    training_loss(model).backward()
    untrained = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert untrained == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_every_tensor_survives_saving_and_loading(variant: dict, tmp_path: Path) -> None:
    model = tiny_model(**variant)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():  # nothing may be what a fresh network would have by itself
                tensor.add_(0.01 * torch.randn_like(tensor))
        if model.text is not None:
            model.text.std.abs_()
    model.save_pretrained(tmp_path)
    assert not [file for file in tmp_path.iterdir() if file.suffix in (".bin", ".pt", ".pkl")]
    for loaded in (load_model(tmp_path), BiPVLSegModel.from_pretrained(tmp_path)):
        assert not loaded.training
        before, after = model.state_dict(), loaded.state_dict()
        assert before.keys() == after.keys()
        assert [key for key in before if not torch.equal(before[key], after[key])] == []
        image = images(model.config, batch=1)
        if model.text is None:
            with torch.inference_mode():
                assert torch.equal(loaded(image), model(image))
        else:
            assert torch.equal(logits_of(loaded, image, HEART), logits_of(model, image, HEART))


def test_every_setting_survives_saving_and_loading(tmp_path: Path) -> None:
    model = tiny_model(
        preprocessing={"spacing": [1.0, 2.0, 3.0], "flip_axes": [0], "modality": "MR"}, concepts="cine-mr", nested=True
    )
    model.save_pretrained(tmp_path)
    config = load_model(tmp_path).config
    own = {key: value for key, value in model.config.to_dict().items() if key not in ("architectures", "_name_or_path")}
    assert {key: config.to_dict()[key] for key in own} == own
    assert config.preprocessing["spacing"] == [1.0, 2.0, 3.0]
    assert config.divisor == model.config.divisor


def test_a_fresh_bert_is_as_wide_and_deep_as_in_the_paper() -> None:
    config = paper_config(("a", "b"))
    assert config.divisor == (32, 32, 32)
    assert (config.text["num_hidden_layers"], config.text["hidden_size"]) == (12, 768)
    assert config.text_stage_ends == [1, 6, 8, 10, 12]
    assert config.fusion_stages == [1, 2, 3, 4]


def test_text_stages_that_do_not_rise_are_refused() -> None:
    for ends in ((3, 2, 3, 3, 3), (1, 2, 3), (1, 2, 3, 3, 4)):
        with pytest.raises(ValueError, match="text_stage_ends"):
            tiny_model(text_stage_ends=ends)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "fixd"},
        {"encoder": "resnet"},
        {"fusion_direction": "sideways"},
        {"text_tokens": "letters"},
        {"use_text": False},
        {"head": "fixed", "classes": ()},
        {"head": "fixed", "fusion_direction": "image-to-text"},
    ],
)
def test_settings_that_make_no_network_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError):
        tiny_config(**changes)


# ---------------------------------------------------------------- the bundled text encoder


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> tuple[BiPVLSegModel, Path]:
    """A model on the bundled, frozen text encoder, and its folder."""
    torch.manual_seed(0)
    config = tiny_config(text=None, text_stage_ends=(6, 6, 6, 6, 6))
    model = build_model(config, "minilm").eval()
    model.text.fit_statistics(HEART_TEXTS)
    folder = tmp_path_factory.mktemp("shared")
    model.save_pretrained(folder)
    return model, folder


def test_the_shared_text_encoder_is_not_stored_with_the_model(shared) -> None:
    from safetensors import safe_open

    model, folder = shared
    with safe_open(folder / "model.safetensors", framework="np") as file:
        keys = set(file.keys())
    assert not [key for key in keys if key.startswith("text.bert.")]
    assert {"text.mean", "text.std"} <= keys
    assert (folder / "model.safetensors").stat().st_size < 3e6
    loaded = load_model(folder)
    image = images(model.config, batch=1)
    assert torch.equal(logits_of(loaded, image, HEART), logits_of(model, image, HEART))


def test_a_frozen_text_encoder_gets_no_gradient_and_a_trained_one_is_stored(shared, tmp_path: Path) -> None:
    model, _ = shared
    assert not any(p.requires_grad for p in model.text.bert.parameters())
    trained = build_model(tiny_config(text=None, text_stage_ends=(6, 6, 6, 6, 6)), "minilm", freeze_text=False)
    assert all(p.requires_grad for p in trained.text.bert.parameters())
    with torch.no_grad():
        trained.text.bert.embeddings.word_embeddings.weight.add_(0.1)
    trained.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    for key, value in trained.text.bert.state_dict().items():
        assert torch.equal(loaded.text.bert.state_dict()[key], value), key


def test_statistics_bring_the_texts_of_a_corpus_apart(shared) -> None:
    model, _ = shared
    with torch.no_grad():
        vectors = model.text.encode_texts(HEART_TEXTS)
        raw = vectors * model.text.std + model.text.mean
    assert torch.allclose(vectors.mean(0), torch.zeros(vectors.shape[1]), atol=1e-4)
    alive = model.text.std > 1e-3  # the pretrained encoder has a dimension that never moves
    assert alive.sum() > 370 and torch.allclose(vectors.std(0)[alive], torch.ones(alive.sum()), atol=1e-3)

    def similarity(v: torch.Tensor) -> float:
        v = torch.nn.functional.normalize(v, dim=1)
        return (v @ v.T).mean().item()

    assert similarity(vectors) < 0.1 < similarity(raw) - 0.1


def test_a_paraphrase_is_nearer_than_another_structure(shared) -> None:
    model, _ = shared
    texts = ["Left ventricle in a cardiac MR image", "The cavity of the left ventricle", "Right kidney in a CT image"]
    with torch.no_grad():
        raw = model.text.encode_texts(texts) * model.text.std + model.text.mean
    own, paraphrase, other = torch.nn.functional.normalize(raw, dim=1)
    assert own @ paraphrase > own @ other + 0.1


def test_unseen_words_are_read_in_pieces_and_never_become_unknown() -> None:
    tokenizer = load_tokenizer(text_encoder_folder("minilm"))
    words = "xylophone qzxwv pseudomyxoma Herzkammer peritonei glioblastoma ventrículo 3.5mm Größe zzyzx"
    ids = tokenizer(words)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert len(ids) > len(words.split())


def test_what_is_no_bert_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ModelError, match="must be a BERT"):
        bert_settings(tmp_path)


# ---------------------------------------------------------------- texts that cannot be read


@pytest.mark.parametrize("mode", TOKEN_MODES)
@pytest.mark.parametrize("field", ["title", "location"])
def test_a_text_of_2000_words_is_refused_with_row_and_column(mode: dict, field: str, capfd) -> None:
    model = tiny_model(**mode)
    concepts = HEART.replace("left ventricular myocardium", **{field: "muscle " * 2000})
    with pytest.raises(ConceptError) as caught:
        model.encode(concepts)
    column = dict(zip(TEXT_FIELDS, TEXT_COLUMNS, strict=True))[field]
    sentence = str(caught.value)
    assert f"'left ventricular myocardium', column {column}: " in sentence
    assert "2000 words" in sentence
    assert capfd.readouterr().err == ""


def test_texts_that_are_too_long_together_are_refused_where_words_are_tokens() -> None:
    long = "A bright round disc. " * 40
    concepts = HEART.replace("left ventricle", shape=long, location=long, contour=long)
    assert tiny_model().encode(concepts).mask.all()
    with pytest.raises(ConceptError, match="^'left ventricle': "):
        tiny_model(text_tokens="words").encode(concepts)


@pytest.mark.parametrize(
    "text", ["左心室在心脏核磁共振图像中", "🫀🫀🫀", "🫀 round 左 disc", "Левый желудочек", "\u200b\u200b", "..."]
)
def test_other_scripts_and_emoji_are_read_or_refused_with_a_sentence(text: str) -> None:
    model = tiny_model()
    concepts = HEART.replace("left ventricle", title=text)
    try:
        logits = logits_of(model, images(model.config, batch=1), concepts)
    except ConceptError as error:
        assert "'left ventricle', column Title: " in str(error)
    else:
        assert logits.isfinite().all()


def test_emoji_alone_are_refused() -> None:
    with pytest.raises(ConceptError, match="column Shape.*English"):
        tiny_model().encode([Concept("heart", "Heart in an MR image", shape="🫀🫀")])


def test_a_model_without_a_tokenizer_says_so() -> None:
    model = tiny_model()
    model.text.tokenizer = None
    with pytest.raises(ModelError, match="tokenizer"):
        model.encode(HEART)


# ---------------------------------------------------------------- imports


@pytest.mark.parametrize("module", ["BiPVLSegLib", "BiPVLSegLib.concepts", "BiPVLSegLib.results", "BiPVLSegLib.io"])
def test_light_parts_import_no_heavy_library(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print(*[name for name in ('torch', 'monai', 'transformers', 'SimpleITK') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_error_of_this_file_is_ours() -> None:
    assert issubclass(ModelError, BiPVLError) and issubclass(ConceptError, BiPVLError)
