"""Hands what a fixed head knows to a class-bound one: the texts learn to say what the numbers of the channels said.

From random weights a class-bound head tells many similar classes apart, such as the left and the right of a structure, only after
thousands of steps, in which the network gets no useful gradient. A fixed head on the same network is quick. So a run may
start from a model with a fixed head and the same decoder (``init_from``): before the first step the classifier of the new head is
fitted to the channels of the old one, class by class and in all wordings. It takes a minute, and the images matter little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..concepts import fold_name
from ..data.rows import draw_rows
from ..inference.device import autocast
from ..model import BiPVLSegModel

STEPS, RATE = 400, 2e-3


@dataclass(frozen=True)
class Channels:
    """A fixed head's weights and bias of each class (N, F + 1), which classes it knew (N,), and its background (F + 1,)."""

    classes: Tensor
    known: Tensor
    background: Tensor


def channels_of(model: BiPVLSegModel, classes: tuple[str, ...], features: int) -> Channels | None:
    """The channels of a model's fixed head, in our order of classes; None where it has none that fit."""
    if model.config.head != "fixed" or model.config.nested or model.config.network != "bipvlseg":
        return None
    conv = model.head.conv
    if conv.in_channels != features:
        return None
    # <f, w> / sqrt(F) is the product of the class-bound head
    weights = torch.cat([conv.weight.detach().flatten(1) * features**0.5, conv.bias.detach()[:, None]], 1)
    place = {fold_name(name): number for number, name in enumerate(model.config.classes, start=1)}
    rows = [place.get(fold_name(name), 0) for name in classes]
    return Channels(weights[rows], torch.tensor([row > 0 for row in rows]), weights[0])


def bind(run, channels: Channels, steps: int = STEPS, bar: Callable[[Iterator], Iterable] = iter) -> float:
    """Fits the class-bound head of a ``TrainingRun`` to the channels; returns the share of their variance that is left.

    To be called before ``run.distribute``, which gives the weights to all processes. The image is a small part of a patch
    of each of the first steps, so that the texts are as the fusion leaves them. ``bar`` may show how far it is.
    """
    model, device, t = run.model, run.device, run.training
    target, known = channels.classes.to(device), channels.known.to(device)
    variance = target[known].var(0, correction=0).mean().clamp(min=1e-8)
    optimizer = torch.optim.Adam(model.head.text_parameters(), lr=RATE)
    left = 1.0
    run.train_mode()
    for step, batch in enumerate(bar(run.batches(0, steps))):
        rng = np.random.default_rng([t.seed, 3, step])
        rows = draw_rows(run.concepts.concepts, run.foreign, run.sampling, rng, run.wordings)
        single = [(n, members[0]) for n, members in enumerate(rows.classes) if len(members) == 1]
        single = [(n, index) for n, index in single if known[index]]
        if not single:
            continue
        image = batch["image"][:1].to(device)
        for axis, size in enumerate(model.config.divisor, start=2):
            image = image.narrow(axis, 0, min(image.shape[axis], 2 * size))
        with torch.no_grad(), autocast(device, run.dtype):
            vectors = model.look(image, run.step.text_tokens(rows))[1][0].float()
        places, indices = zip(*single, strict=True)
        found = model.head.weights(vectors[list(places)])
        loss = (found - target[list(indices)][:, None]).square().mean() / variance  # of each prototype
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        left += (float(loss.detach()) - left) / min(step + 1, 50)
    with torch.no_grad():
        if model.head.background is not None:
            model.head.background.copy_(channels.background.to(device))
    return left
