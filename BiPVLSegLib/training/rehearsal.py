"""Teaches a trained model more words without changing what it does with its own: the texts rehearse.

The model as it starts is the teacher: under the table's own texts it says which weights each class has in the head and what a
patch looks like at every stage. The same model under other writers' words, names alone, typing errors, unions and foreign
organs learns to say the same. Only what reads texts is trained, on small parts of patches, so that a step takes a fraction of a
training step and sees every row in other words.

One table per image is too few to learn what all those words have in common. So the head reads many more per step, at next to no
cost: tables of earlier steps again, with what their words saw of their images then; and, where it also reads the words as they
were before they looked at the image, new ones with what the teacher's words saw.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..concepts import fold_name
from ..data.rows import Rows, draw_rows
from ..errors import TrainingError
from ..inference.device import autocast
from ..model import TextTokens
from ..model.heads import class_vectors, prototype_logits
from .schedule import learning_rate

RATE, WARMUP, CLIP = 1e-3, 20, 1.0
BLUR = 0.3  # noise on the vectors of texts, as a share of their spread: a wording stands for those around it
PART = 3  # of the deepest grid's cells along each axis: the part of a patch that is looked at
VOXELS = 1000  # of an image that the head is asked about for each table that only it reads
AGAIN, KEPT = 10, 1000  # tables of earlier steps that the head reads again in each step, of so many that are kept
NEW = 4  # and new ones
# Most rows are other people's words. Unions are what only few steps of a training ask for.
OFTEN = {"subset": 0.5, "most": 0, "reword": 0.8, "misspell": 0.5, "union": 0.5, "title_only": 0.2}


@dataclass(frozen=True)
class Heard:
    """A table of ``rows``, what its words saw of an image (N, T), and what the teacher says of that image: ``weights`` of its
    classes (C, P, F + 1), and some ``features`` (1, F, V, 1, 1) and ``truth`` (1, C + 1, V, 1, 1)."""

    rows: Rows
    looked: Tensor
    weights: Tensor
    features: Tensor
    truth: Tensor


def check_rehearsal(run) -> None:
    """Raises TrainingError where a ``TrainingRun`` has nothing to rehearse, or no teacher."""
    model, start = run.model, run.training.init_from
    if model.config.network != "bipvlseg" or model.config.head != "class-bound" or model.config.nested:
        raise TrainingError("rehearsal is for models with a class-bound head and classes that exclude each other.")
    if run.start.channels is not None:
        raise TrainingError(
            f"The model '{start}' has a fixed head, to which the texts are bound first; rehearse in a second run from this one."
        )
    if run.wordings is None:
        raise TrainingError("rehearsal needs other words than the table's own; leave the setting rows as it is.")
    if not _trained(model):
        raise TrainingError(
            "The setting freeze leaves nothing for the rehearsal to train; it trains the head and fusion."
        )
    known = {fold_name(name) for name in run.start.classes}
    new = [name for name in run.concepts.names if fold_name(name) not in known]
    if not start or new:
        reason = f"the model '{start}' does not know {new[0]}" if start else "there is no init_from"
        raise TrainingError(f"rehearsal needs a trained model with the same rows to learn from: {reason}.")


def rehearse(run, steps: int, bar: Callable[[Iterator], Iterable] = iter) -> float:
    """Trains what reads texts in the model of a ``TrainingRun``; returns how far the class weights that it makes of other words
    are from those of the table's own, as a share of their variance, over the last steps.

    To be called before ``run.distribute``, which gives the weights to all processes. ``bar`` may show how far it is.
    """
    model, device = run.model, run.device
    teacher = copy.deepcopy(model).eval().requires_grad_(False)
    own = Rows(tuple((index,) for index in range(len(run.concepts))), run.concepts.concepts)
    own_text, sampling = run.step.text_tokens(own), replace(run.sampling, **OFTEN)
    trained = _trained(model)
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=1e-2, fused=trained[0].is_cpu)
    left, memory = 1.0, []
    run.train_mode()
    for step, batch in enumerate(bar(run.batches(0, steps))):
        rng = np.random.default_rng([run.training.seed, 4, step])
        draw = partial(draw_rows, run.concepts.concepts, run.foreign, sampling, rng, run.wordings)
        rows = draw()
        image = _part(batch["image"][:1].to(device), [PART * side for side in model.config.divisor], rng)
        with torch.no_grad(), autocast(device, run.dtype):
            looked, vectors, features = teacher.look(image, own_text, decode=True)
            weights, features = teacher.head.weights(vectors).float(), features.float()
            truth = prototype_logits(features, weights, teacher.head.background).softmax(1)
        with run.rounding.applied(step):
            with autocast(device, run.dtype):
                seen, words, _ = model.look(image, _blurred(run.step.text_tokens(rows), rng))
                found = model.head.weights(words).float()
            views = [
                F.mse_loss(a.float(), b.float()) / b.float().var().clamp(min=1e-8)
                for a, b in zip(seen, looked, strict=True)
            ]
            background = model.head.background.detach()
            error, drawn = _losses(found[0], weights[0], rows, features, truth, background)
            now = _heard(model, rows, words, weights, features, truth, rng)
            memory[step % KEPT : step % KEPT + 1] = [now]
            read = [memory[place] for place in rng.integers(len(memory), size=min(AGAIN, 1 + len(memory) // 10))]
            if model.head.own_words is not None:
                seen_by_own = vectors[0, :, : now.looked.shape[1]].float()
                read += [_in_place_of(now, draw(), seen_by_own, rng) for _ in range(NEW)]
            found = model.head.weights(torch.cat([_read(run, one, rng) for one in read]))
            found = found.split([len(one.rows.classes) for one in read])
            parts = [
                sum(_losses(part, one.weights, one.rows, one.features, one.truth, background))
                for part, one in zip(found, read, strict=True)
            ]
            seen_now = torch.stack(views).mean() + error + drawn
            loss = (seen_now + sum(parts)) / (1 + len(parts))  # every table counts the same
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        if error.requires_grad:
            left += (float(error.detach()) - left) / min(step + 1, 50)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, RATE, min(WARMUP, steps), "cosine")
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
    return left


def _trained(model) -> list[nn.Parameter]:
    """What reads texts, but for what is frozen."""
    fusion = [p for name, p in model.fusion.named_parameters() if ".vision" not in name]
    return [p for p in [*model.head.text_parameters(), *fusion] if p.requires_grad]


def _part(image: Tensor, sides: list[int], rng: np.random.Generator) -> Tensor:
    for axis, side in enumerate(sides, start=2):
        room = image.shape[axis] - side
        if room > 0:
            image = image.narrow(axis, int(rng.integers(room + 1)), side)
    return image


def _blurred(text: TextTokens, rng: np.random.Generator) -> TextTokens:
    noise = torch.from_numpy(rng.standard_normal(text.tokens.shape, np.float32)).to(text.tokens)
    return TextTokens(text.tokens + BLUR * text.tokens[text.mask].std() * noise, text.mask)


def _of_all_kinds(truth: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Places of so many of the voxels of ``truth`` (1, C + 1, D, H, W), with luck as many of each class that is there."""
    kinds = truth[0].argmax(0).flatten()
    share = 1 / kinds.bincount().clamp(min=1)[kinds].double()
    picked = rng.choice(len(kinds), size=min(count, len(kinds)), replace=False, p=(share / share.sum()).cpu().numpy())
    return torch.from_numpy(picked).to(truth.device)


def _heard(
    model, rows: Rows, words: Tensor, weights: Tensor, features: Tensor, truth: Tensor, rng: np.random.Generator
) -> Heard:
    """What there is to remember of a step: ``words`` (1, N, T or 2 T), ``weights`` (1, C, P, F + 1), and of the voxels of
    ``features`` and ``truth`` some of all kinds."""
    width = words.shape[2] if model.head.own_words is None else words.shape[2] // 2
    voxels = _of_all_kinds(truth, VOXELS, rng)
    features, truth = (x.flatten(2)[..., voxels, None, None] for x in (features, truth))
    return Heard(rows, words[0, :, :width].detach().float(), weights[0], features, truth)


def _in_place_of(heard: Heard, rows: Rows, seen: Tensor, rng: np.random.Generator) -> Heard:
    """Another table for the same image; what its words would have seen is that of the classes (C, T), of a union the mean of
    its classes' and of a foreign organ that of any class."""
    places = [list(members) or [int(rng.integers(len(seen)))] for members in rows.classes]
    return replace(heard, rows=rows, looked=torch.stack([seen[members].mean(0) for members in places]))


def _read(run, heard: Heard, rng: np.random.Generator) -> Tensor:
    """What the head reads of the rows of a table (N, T or 2 T)."""
    if run.model.head.own_words is None:
        return heard.looked
    return torch.cat([heard.looked, class_vectors(_blurred(run.step.text_tokens(heard.rows), rng))[0]], 1)


def _losses(
    found: Tensor, weights: Tensor, rows: Rows, features: Tensor, truth: Tensor, background: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the class weights ``found`` for the rows (N, P, F + 1): the mean of :func:`_errors`, 0 without any, and the
    cross-entropy to what the teacher draws of these features."""
    errors = _errors(found, weights, rows)
    error = torch.stack(errors).mean() if errors else found.new_zeros(())
    logits = prototype_logits(features, found[None], background)
    return error, -(_wanted(truth, rows) * logits.log_softmax(1)).sum(1).mean()


def _errors(found: Tensor, weights: Tensor, rows: Rows) -> list[Tensor]:
    """How far the class weights ``found`` for the rows (N, P, F + 1) are from those of the teacher for its classes
    (C, P, F + 1), as shares of the variance over classes. A union of as many classes as there are prototypes should have one of
    each, in any order; others, and foreign organs, have no weights to be compared with."""
    variance = weights.var(0, correction=0).mean().clamp(min=1e-8)
    errors = []
    for row, members in zip(found, rows.classes, strict=True):
        wanted = [weights[members[0]]] if len(members) == 1 else []
        if len(members) == weights.shape[1] > 1:
            wanted = [weights[list(order), 0] for order in permutations(members)]
        if wanted:
            errors.append(torch.stack([F.mse_loss(row, one) for one in wanted]).min() / variance)
    return errors


def _wanted(truth: Tensor, rows: Rows) -> Tensor:
    """Probabilities that the rows should give where the teacher gives ``truth`` for all classes (1, C + 1, D, H, W): of a
    union the sum of its members, of a foreign organ nothing, and the rest is background."""
    nothing = torch.zeros_like(truth[:, 0])
    wanted = [truth[:, [index + 1 for index in members]].sum(1) if members else nothing for members in rows.classes]
    return torch.stack([1 - sum(wanted), *wanted], 1)
