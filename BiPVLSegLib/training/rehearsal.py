"""Teaches a trained model more words without changing what it does with its own: the texts rehearse.

The model as it starts is the teacher: under the table's own texts it says which weights each class has in the head and what a
patch looks like at every stage. The same model under other writers' words, names alone, typing errors, unions and foreign
organs learns to say the same. Only what reads texts is trained, on small parts of patches, so that a step takes a fraction of a
training step and sees every row in other words.

A head that also reads the words as they were before they looked at the image does so at next to no cost. So each step gives
it many more tables in this way alone: one table per image is too few to learn what all those words have in common.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
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
TABLES, VOXELS = 8, 1500  # more tables per step that only the head reads, and the voxels that it is asked about
# Most rows are other people's words. Unions are what only few steps of a training ask for.
OFTEN = {"subset": 0.5, "most": 0, "reword": 0.8, "misspell": 0.5, "union": 0.5, "title_only": 0.2}


def check_rehearsal(run) -> None:
    """Raises TrainingError where a ``TrainingRun`` has nothing to rehearse, or no teacher."""
    model, start = run.model, run.training.init_from
    if model.config.network != "bipvlseg" or model.config.head != "class-bound" or model.config.nested:
        raise TrainingError("rehearsal is for models with a class-bound head and classes that exclude each other.")
    if run.channels is not None:
        raise TrainingError(
            f"The model '{start}' has a fixed head, to which the texts are bound first; rehearse in a second run from this one."
        )
    if run.wordings is None:
        raise TrainingError("rehearsal needs other words than the table's own; leave the setting rows as it is.")
    if not _trained(model):
        raise TrainingError(
            "The setting freeze leaves nothing for the rehearsal to train; it trains the head and fusion."
        )
    known = {fold_name(name) for name in run.start_classes}
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
    left = 1.0
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
            loss = torch.stack(views).mean() + error + drawn
            if model.head.own_words is not None:
                voxels = _of_all_kinds(truth, VOXELS, rng)
                some = [x.flatten(2)[..., voxels, None, None] for x in (features, truth)]
                tables = [draw() for _ in range(TABLES)]
                read = model.head.weights(_read(run, tables, vectors[0].float(), rng))
                read = read.split([len(table.classes) for table in tables])
                parts = [
                    _losses(part, weights[0], table, *some, background)
                    for part, table in zip(read, tables, strict=True)
                ]
                loss = loss + sum(map(sum, parts)) / TABLES
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


def _read(run, tables: list[Rows], vectors: Tensor, rng: np.random.Generator) -> Tensor:
    """What the head reads of the rows of all tables (rows, 2 T): what the words saw of the image is taken from the teacher's
    ``vectors`` (C, 2 T), of a union the mean of its classes and of a foreign organ that of any class."""
    width, looked, own = vectors.shape[1] // 2, [], []
    for rows in tables:
        own.append(class_vectors(_blurred(run.step.text_tokens(rows), rng))[0])
        for members in rows.classes:
            places = list(members) or [int(rng.integers(len(vectors)))]
            looked.append(vectors[places, :width].mean(0))
    return torch.cat([torch.stack(looked), torch.cat(own)], 1)


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
