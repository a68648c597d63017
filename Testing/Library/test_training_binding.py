"""A network that was trained with a fixed head hands what it knows to the texts of a class-bound one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_training import HEART, a_run

from BiPVLSegLib.concepts import ConceptSet
from BiPVLSegLib.model import load_model
from BiPVLSegLib.training.binding import bind, channels_of
from BiPVLSegLib.training.loop import train

FIXED = ["model.use_text=false", "model.head=fixed", "class_embedding_loss=false", "steps=2"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, data, bert) -> Path:
    from tiny_training import small

    folder = tmp_path_factory.mktemp("fixed") / "run"
    train([data], None, "acdc", folder, [*small(bert), *FIXED])
    return folder / "last"


def features_of(run, rows: ConceptSet) -> torch.Tensor:
    """Logits (N + 1) of each row and the background at features of one, which tells what the head made of the texts."""
    image = torch.zeros(1, 1, 32, 32, 8)
    with torch.no_grad():
        vectors = run.model.look(image, run.model.encode(rows))[1]
        ones = torch.ones(1, run.model.decoder.widths[0], 1, 1, 1)
        return run.model.head(ones, vectors).flatten()


def test_texts_take_over_the_channels_of_their_class(teacher, data, settings):
    run = a_run(data, [*settings, f"init_from={teacher}", "rows=all"])
    assert run.start.channels is not None and run.start.channels.known.all()
    assert bind(run, run.start.channels, 120) < 0.3
    conv = load_model(teacher).head.conv
    expected = conv.weight.detach().flatten(1).sum(1) + conv.bias.detach()
    found = features_of(run, HEART)
    assert found[0] == pytest.approx(float(expected[0]), abs=1e-5), "the background is taken over as it is"
    spread = expected[1:].std()
    assert (found[1:] - expected[1:]).abs().max() < spread


def test_fresh_fusion_layers_leave_the_features_of_the_first_model_as_they_were(teacher, data, settings):
    run = a_run(data, [*settings, f"init_from={teacher}", "model.vision_self_attention=[4]"])
    fixed, own, image = load_model(teacher).eval(), run.model.eval(), torch.randn(1, 1, 32, 32, 8)
    assert own.fusion
    with torch.no_grad():
        _, skips, _ = fixed._look(image, None, None)
        expected = fixed.decoder(image, skips)[0]
        text = own.encode(HEART)
        _, vectors, features = own.look(image, text, decode=True)
        assert torch.allclose(features, expected, atol=1e-6)
        assert torch.allclose(vectors, own.look(-image, text)[1]), "the texts have not seen the image yet"
    for parameter in own.fusion.parameters():
        parameter.grad = None
    own.look(image, text, decode=True)[2].square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in own.fusion.parameters()), "training opens them"


def test_a_head_that_reads_more_begins_with_what_the_first_models_head_read(data, settings, bert, tmp_path):
    train([data], None, "acdc", tmp_path / "run", [*settings, "steps=2", "model.head_own_words=false"])
    first = load_model(tmp_path / "run" / "last").eval()
    run = a_run(data, [*settings, f"init_from={tmp_path / 'run' / 'last'}"])
    assert run.model.own_words and not first.own_words
    image = torch.randn(1, 1, 32, 32, 8)
    with torch.no_grad():
        expected = first(image, first.encode(HEART))
        assert torch.allclose(run.model.eval()(image, run.model.encode(HEART)), expected, atol=1e-5)


def test_channels_are_paired_by_name(teacher, data, settings):
    fixed = load_model(teacher)
    turned = channels_of(fixed, tuple(reversed(HEART.names)), 4)
    straight = channels_of(fixed, HEART.names, 4)
    assert torch.equal(turned.classes, straight.classes.flip(0))
    assert channels_of(fixed, ("liver", *HEART.names), 4).known.tolist() == [False, True, True, True]
    assert channels_of(fixed, HEART.names, 8) is None, "another decoder"


def test_nothing_is_bound_without_a_fixed_head_to_learn_from(teacher, data, settings, tmp_path):
    assert a_run(data, settings).start.channels is None
    assert a_run(data, [*settings, *FIXED, f"init_from={teacher}"]).start.channels is None
    run = a_run(data, settings)
    assert channels_of(run.model, HEART.names, 4) is None


def test_a_training_binds_before_its_first_step_and_not_when_it_goes_on(
    teacher, data, settings, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("BiPVLSegLib.training.loop.bind", partial(bind, steps=3))
    train([data], None, "acdc", tmp_path / "run", [*settings, f"init_from={teacher}", "validate_every=2"], stop_after=2)
    assert "bound to the channels" in capsys.readouterr().out
    train([data], None, "acdc", tmp_path / "run", [*settings, f"init_from={teacher}", "validate_every=2"], resume=True)
    assert "bound to the channels" not in capsys.readouterr().out
