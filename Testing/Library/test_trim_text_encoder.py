"""Words are taken out of the text encoder, and all others are read as before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_config

from BiPVLSegLib.concepts import Concept
from BiPVLSegLib.errors import ConceptError, ModelError
from BiPVLSegLib.model import build_model, load_model
from BiPVLSegLib.model.text_encoder import load_tokenizer, text_encoder_folder
from BiPVLSegLib.tools.trim_text_encoder import kept_ids, trim


def test_names_years_and_foreign_scripts_go_and_what_spells_words_stays() -> None:
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "a",
        "##a",
        "μ",
        "心",
        "##心",
        "12",
        "1998",
        "##ab",
        "##owski",
        "##oid",
        "heart",
        "paris",
    ]
    used = {"heart", "##oid"}
    kept = [vocabulary[index] for index in kept_ids(vocabulary, used)]
    assert kept == ["[PAD]", "[UNK]", "a", "##a", "μ", "12", "##ab", "##oid", "heart"]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """The bundled text encoder, and the folder of one that knows only the words of two short lists."""
    folder = tmp_path_factory.mktemp("encoders")
    (folder / "texts.csv").write_text("Left ventricle, a thick-walled cone beside the septum", encoding="utf-8")
    (folder / "words").write_text("Paris\nround\nheart\nlobe\nit's\n", encoding="utf-8")
    (folder / "without").write_text("lobe\n", encoding="utf-8")
    lists = [folder / "texts.csv"], [folder / "words"], [folder / "without"]
    trim(text_encoder_folder("minilm"), folder / "small", *lists)
    return text_encoder_folder("minilm"), folder / "small"


def test_what_stays_is_read_as_before_to_the_last_bit(encoders) -> None:
    before, after = (build_model(tiny_config(text=None), str(folder)).eval().text for folder in encoders)
    assert after.bert.config.vocab_size < 0.5 * before.bert.config.vocab_size
    texts = ["Left ventricle, a round cone beside the septum", "heart"]
    with torch.no_grad():
        assert torch.equal(before.encode_texts(texts), after.encode_texts(texts))
    tokens = [load_tokenizer(folder).tokenize("pancreas") for folder in encoders]
    assert tokens[0] != tokens[1] and "".join(t.removeprefix("##") for t in tokens[1]) == "pancreas", "in letters"
    assert load_tokenizer(encoders[1]).tokenize("round lobe")[0] == "round"
    assert "lobe" not in load_tokenizer(encoders[1]).get_vocab()


def test_pieces_that_spell_few_words_go_unless_a_text_has_them(encoders, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("carotid", encoding="utf-8")
    (tmp_path / "words").write_text("heartless\nhearty\nheartache\nroundy\n", encoding="utf-8")
    for folder, fewest in (("every", 1), ("fewer", 2)):
        trim(encoders[0], tmp_path / folder, [tmp_path / "texts.csv"], [tmp_path / "words"], fewest=fewest)
    every, fewer = (set(load_tokenizer(tmp_path / folder).get_vocab()) for folder in ("every", "fewer"))
    of_text = {piece for piece in load_tokenizer(encoders[0]).tokenize("carotid") if piece.startswith("##")}
    assert of_text <= fewer and {"heart", "round"} <= fewer
    gone = every - fewer
    assert gone and all(piece.startswith("##") and len(piece) > 4 for piece in gone)


@pytest.mark.parametrize("left", [5000, -100, -1])
def test_a_vocabulary_that_lost_its_end_is_refused(encoders, tmp_path: Path, left: int) -> None:
    folder = shutil.copytree(encoders[0], tmp_path / "cut")
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    (folder / "vocab.txt").write_text("\n".join(words[:left]) + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match=f"has {len(words[:left])} word pieces"):
        build_model(tiny_config(text=None), str(folder))


def test_single_pieces_can_be_taken_out(encoders, tmp_path: Path) -> None:
    before = load_tokenizer(encoders[0]).tokenize("keepers")
    assert "##keepers" not in before and before[-1].startswith("##")
    (tmp_path / "without").write_text(f"{before[-1]}\n", encoding="utf-8")
    trim(encoders[0], tmp_path / "fewer", without=[tmp_path / "without"])
    old, new = (load_tokenizer(folder) for folder in (encoders[0], tmp_path / "fewer"))
    assert set(old.get_vocab()) - set(new.get_vocab()) == {before[-1]}
    assert new.unk_token not in new.tokenize("keepers") and new.tokenize("heart") == old.tokenize("heart")


def test_later_positions_go_and_shorter_texts_are_read_as_before(encoders, tmp_path: Path) -> None:
    trim(encoders[0], tmp_path / "short", positions=20)
    before, after = (
        build_model(tiny_config(text=None), str(path)).eval().text for path in (encoders[0], tmp_path / "short")
    )
    texts = ["Left ventricle, a round cone beside the septum", "heart"]
    with torch.no_grad():
        assert torch.equal(before.encode_texts(texts), after.encode_texts(texts))
    assert load_tokenizer(tmp_path / "short").get_vocab() == load_tokenizer(encoders[0]).get_vocab()
    long = Concept("heart", "heart " * 19)
    before.check(long)
    with pytest.raises(ConceptError, match="up to 18 word pieces"):
        after.check(long)


def test_a_model_finds_its_shared_text_encoder_with_fewer_words_than_it_knew(tmp_path: Path) -> None:
    model = build_model(tiny_config(text=None, text_stage_ends=(6, 6, 6, 6, 6)), "minilm").eval()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    words, config["text"]["vocab_size"] = config["text"]["vocab_size"], 13517
    config["text"]["max_position_embeddings"] = 512
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    loaded = load_model(tmp_path).eval()
    assert loaded.config.text["vocab_size"] == loaded.text.bert.config.vocab_size == words < 13517
    assert loaded.config.text["max_position_embeddings"] == loaded.text.max_length == model.text.max_length < 512
    with torch.no_grad():
        assert torch.equal(loaded.text.encode_texts(["heart"]), model.text.encode_texts(["heart"]))
