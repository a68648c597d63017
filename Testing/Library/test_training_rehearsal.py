"""A trained model learns other people's words for its rows, and keeps what it does under its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import HEART, a_run, small

from BiPVLSegLib.concepts import CONCEPT_FIELDS
from BiPVLSegLib.data.rows import FOREIGN, Rows
from BiPVLSegLib.errors import TrainingError
from BiPVLSegLib.model import load_model
from BiPVLSegLib.model.heads import class_vectors
from BiPVLSegLib.training.loop import train
from BiPVLSegLib.training.rehearsal import _errors, _heard, _in_place_of, _read, _wanted, check_rehearsal, rehearse

IMAGE = torch.zeros(1, 1, 32, 32, 8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data, bert) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train([data], None, "acdc", folder, [*small(bert), "steps=4"])
    return folder / "last"


def class_weights(model, rows) -> torch.Tensor:
    with torch.no_grad():
        return model.head.weights(model.look(IMAGE, model.encode(rows))[1][0])


def names_only(rows):
    return [replace(row, **dict.fromkeys(CONCEPT_FIELDS, "")) for row in rows]


def test_other_words_come_to_say_what_the_own_ones_say(trained, data, settings):
    run = a_run(data, [*settings, f"init_from={trained}", "rehearsal=1", "seed=2"])
    others = [names_only(HEART), [replace(row, title="") for row in HEART]]
    run.model.eval()
    own, *before = (class_weights(run.model, rows) for rows in (HEART, *others))
    vision = {name: p.clone() for name, p in run.model.named_parameters() if name.startswith(("encoder.", "decoder."))}
    rehearse(run, 160)
    run.model.eval()
    kept, *after = (class_weights(run.model, rows) for rows in (HEART, *others))
    # of both together: without its title a row may say nearly the same from the beginning
    was, now = (sum(float((found - own).norm()) for found in tables) for tables in (before, after))
    assert now < 0.8 * was
    assert (kept - own).norm() < 0.5 * max((b - own).norm() for b in before), "its own words say what they said"
    parameters = dict(run.model.named_parameters())
    assert all(torch.equal(p, parameters[name]) for name, p in vision.items()), "only what reads texts has learnt"


def test_a_run_may_be_a_rehearsal_alone_and_does_not_rehearse_twice(trained, data, settings, tmp_path, capsys):
    settings = [*settings, f"init_from={trained}", "rehearsal=3", "steps=0"]
    train([data], None, "acdc", tmp_path / "run", settings)
    assert "Other words now say" in capsys.readouterr().out
    first = load_model(tmp_path / "run" / "last").state_dict()
    start = load_model(trained).state_dict()
    changed = {key for key, value in first.items() if not torch.equal(value, start[key])}
    assert changed and all(key.startswith(("fusion.", "head.classifier.", "head.own_words.")) for key in changed)
    log = (tmp_path / "run" / "log.csv").read_text()
    train([data], None, "acdc", tmp_path / "run", settings, resume=True)
    assert (tmp_path / "run" / "log.csv").read_text() == log
    assert "Other words now say" not in capsys.readouterr().out
    again = load_model(tmp_path / "run" / "last").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def test_a_head_of_more_prototypes_begins_with_what_the_trained_one_says(trained, data, settings, tmp_path):
    run = a_run(data, [*settings, f"init_from={trained}", "rehearsal=1", "model.head_prototypes=2"])
    first, image = load_model(trained), torch.randn(1, 1, 32, 32, 8)
    with torch.no_grad():
        expected = first(image, first.encode(HEART))
        assert torch.allclose(run.model.eval()(image, run.model.encode(HEART)), expected, atol=0.02)
        one, other = run.model.head.weights(run.model.look(image, run.model.encode(HEART))[1][0]).unbind(1)
        assert not torch.equal(one, other), "or they could never part"
    run.model.save_pretrained(tmp_path)
    assert a_run(data, [*settings, f"init_from={tmp_path}"]).model.config.head_prototypes == 2, (
        "its like goes on from it"
    )
    a_run(data, [*settings, f"init_from={tmp_path}", "model.head=fixed"])  # takes over encoder and decoder
    with pytest.raises(TrainingError, match="2 prototypes"):
        a_run(data, [*settings, f"init_from={tmp_path}", "model.head_prototypes=3"])


def test_with_two_prototypes_a_text_for_two_structures_learns_to_say_both(trained, data, settings):
    run = a_run(data, [*settings, f"init_from={trained}", "rehearsal=1", "model.head_prototypes=2"])
    union = next(union for union in run.wordings.unions if len(union.members) == 2)

    def error() -> float:
        run.model.eval()
        rows = Rows((union.members,), union.rows[:1])
        return float(_errors(class_weights(run.model, rows.concepts), own, rows)[0])

    own = class_weights(run.model, HEART)
    before = error()
    rehearse(run, 160)
    assert error() < 0.7 * before


def test_more_tables_are_read_with_what_the_teacher_saw_and_old_ones_with_what_they_saw(trained, data, settings):
    run = a_run(data, [*settings, f"init_from={trained}", "rehearsal=1"])
    count, width = len(HEART), run.model.text.width
    rng, truth = np.random.default_rng(0), torch.rand(1, count + 1, 4, 4, 4).softmax(1)
    rows = Rows(((0,), (1, 2)), HEART.concepts[:2])
    words, features = torch.randn(1, 2, 2 * width), torch.randn(1, 5, 4, 4, 4)
    heard = _heard(run.model, rows, words, torch.randn(1, count, 1, 6), features, truth, rng)
    looked, own = _read(run, heard, rng).chunk(2, -1)
    assert torch.equal(looked, words[0, :, :width]), "as it was then"
    said = class_vectors(run.step.text_tokens(rows))[0]
    assert 0 < (own - said).std() < 0.5 * said.std(), "their own words, blurred"
    pairs = {(*f.tolist(), *t.tolist()) for f, t in zip(features.flatten(2)[0].T, truth.flatten(2)[0].T, strict=True)}
    kept = zip(heard.features.flatten(2)[0].T, heard.truth.flatten(2)[0].T, strict=True)
    assert {(*f.tolist(), *t.tolist()) for f, t in kept} <= pairs, "each voxel with its own truth"

    seen = torch.randn(count, width)
    other = _in_place_of(heard, Rows(((2,), (0, 1), FOREIGN), HEART.concepts[:3]), seen, rng)
    looked = _read(run, other, rng)[:, :width]
    assert torch.equal(looked[0], seen[2]) and torch.allclose(looked[1], seen[:2].mean(0))
    assert any(torch.equal(looked[2], row) for row in seen)
    assert torch.equal(other.truth, heard.truth) and torch.equal(other.weights, heard.weights)


def test_without_a_teacher_of_the_same_rows_it_is_refused(trained, data, settings):
    with pytest.raises(TrainingError, match="there is no init_from"):
        check_rehearsal(a_run(data, [*settings, "rehearsal=3"]))
    with pytest.raises(TrainingError, match="other words"):
        check_rehearsal(a_run(data, [*settings, f"init_from={trained}", "rehearsal=3", "rows=all"]))
    run = a_run(data, [*settings, f"init_from={trained}", "rehearsal=3"])
    check_rehearsal(run)
    run.start = replace(run.start, classes=run.start.classes[1:])
    with pytest.raises(TrainingError, match=f"does not know {HEART.names[0]}"):
        check_rehearsal(run)
    with pytest.raises(TrainingError, match="leaves nothing for the rehearsal"):
        check_rehearsal(a_run(data, [*settings, f"init_from={trained}", "rehearsal=3", "freeze=['head','fusion']"]))
    with pytest.raises(TrainingError, match="0 with a rehearsal"):
        a_run(data, [*settings, "steps=0"])


def test_unions_are_wanted_where_a_member_is_and_foreign_organs_nowhere():
    truth = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 4, 1, 1, 1)
    rows = Rows(((0, 2), FOREIGN), HEART.concepts[:2])
    assert torch.allclose(_wanted(truth, rows).flatten(), torch.tensor([0.4, 0.6, 0.0]))
