"""Starting from another model: what is taken over, what is not, and that the saved model is the one that was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_training import a_run, small, weights_of

from BiPVLSegLib.concepts import load_concepts, write_csv
from BiPVLSegLib.training.loop import train

HEART_TEXT = (
    "A smooth chamber with bright blood, dark muscle around it and thin bright fat beside the septum, seen in slices. "
)


@pytest.fixture(scope="module")
def with_own_bert(data: Path, bert: Path, tmp_path_factory) -> Path:
    """A model whose text encoder was trained, too."""
    folder = tmp_path_factory.mktemp("runs") / "own-bert"
    train([data], None, "acdc", folder, [*small(bert), "steps=2", "freeze_text=false", "learning_rate=0.01"])
    return folder / "last"


def shared(bert: Path) -> list[str]:
    """Settings with the bundled text encoder, which is not stored with a model."""
    layers = ["model.text_stage_ends=[1,1,1,1,1]", "rows=all", "steps=1"]
    return [s for s in small(bert) if not s.startswith(("text_encoder", "model.text_stage_ends", "steps"))] + layers


def test_a_trained_text_encoder_is_not_taken_over_by_a_run_that_does_not_store_it(
    data, bert, with_own_bert, tmp_path, caplog
):
    run = a_run(data, [*shared(bert), f"init_from={with_own_bert}"])
    assert run.model.config.shared_text == "minilm"
    assert "'minilm'" in caplog.text and "not taken over" in caplog.text
    train([data], None, "acdc", tmp_path / "run", [*shared(bert), f"init_from={with_own_bert}"])
    saved, plain = weights_of(tmp_path / "run" / "last"), a_run(data, shared(bert)).model.state_dict()
    assert all(torch.equal(saved[key], plain[key]) for key in plain if key.startswith("text.bert."))


def test_a_trained_text_encoder_is_taken_over_where_it_is_stored(data, bert, with_own_bert):
    run = a_run(data, [*small(bert), "freeze_text=false", f"init_from={with_own_bert}"])
    before, now = weights_of(with_own_bert), run.model.state_dict()
    keys = [key for key in now if key.startswith("text.bert.")]
    assert keys and all(torch.equal(now[key], before[key]) for key in keys)


@pytest.mark.parametrize(("body_axes", "steps"), [(True, 0), (False, 0), (True, 5)])
def test_where_classes_lie_is_taken_over_by_a_rehearsal(data, bert, with_own_bert, tmp_path, body_axes, steps):
    """Other images may be of smaller patients, who would be taken for wrong."""
    start, centres = tmp_path / "start", {"left ventricle": [1.0, 2.0, 3.0]}
    shutil.copytree(with_own_bert, start)
    config = json.loads((start / "config.json").read_text()) | {"class_centres": centres}
    (start / "config.json").write_text(json.dumps(config))
    settings = [*small(bert), f"init_from={start}", f"preprocessing.body_axes={str(body_axes).lower()}"]
    settings += ["preprocessing.slice_axis_last=false", f"steps={steps}", "rehearsal=1"]
    kept = centres if body_axes and not steps else {}
    assert a_run(data, settings).model.config.class_centres == kept


def test_a_run_goes_on_when_the_model_that_it_began_with_is_gone(data, settings, with_own_bert, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(with_own_bert, start)
    settings = [*settings, f"init_from={start}", "validate_every=2"]
    train([data], None, "acdc", tmp_path / "whole", settings)
    train([data], None, "acdc", tmp_path / "run", settings, stop_after=2)
    start.rename(tmp_path / "gone")
    train([data], None, "acdc", tmp_path / "run", settings, resume=True)
    one, other = weights_of(tmp_path / "whole" / "last"), weights_of(tmp_path / "run" / "last")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_texts_that_training_makes_longer_than_the_encoder_reads_are_cut(data, bert, tmp_path):
    """A misspelt text has more word pieces than the text has, and two structures in one text have more words."""
    table = load_concepts("cine-mr").replace("left ventricle", shape=HEART_TEXT * 6)
    write_csv(table, tmp_path / "long.csv")
    settings = [s for s in shared(bert) if s != "rows=all"]
    train([data], tmp_path / "long.csv", "acdc", tmp_path / "run", settings)


def test_unions_in_word_tokens_may_be_longer_than_a_row_of_a_user(data, bert):
    run = a_run(data, [s for s in shared(bert) if s != "rows=all"] + ["model.text_tokens=words"])
    longest = max(
        (row for union in run.wordings.unions for row in union.rows), key=lambda row: len(" ".join(row.texts))
    )
    text = run.model.text
    assert len(text.tokenizer(" ".join(longest.texts))["input_ids"]) > text.max_length
    assert text.encode_unchecked([longest]).tokens.shape[2] == text.max_length
