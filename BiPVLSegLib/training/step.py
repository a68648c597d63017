"""The loss of one training step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..concepts import CONCEPT_FIELDS
from ..data.rows import Rows, draw_rows
from ..inference.device import autocast
from ..losses import deep_supervision_loss, merge_into_background
from ..model import TextTokens
from .distributed import gathered


class TrainingStep(nn.Module):
    """Model and losses as one module, which several processes can run together (see ``distributed``).

    ``run`` is the ``TrainingRun`` that owns both.
    """

    def __init__(self, run):
        super().__init__()
        self.model, self.losses = run.model, run.losses
        self.run = run

    def forward(self, step: int, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss of a step and its parts, of this process's patches. All that is random depends on (seed, step) only."""
        run = self.run
        seed, device = run.training.seed, run.device
        torch.manual_seed(hash((seed, step)) % 2**31)
        rng = np.random.default_rng([seed, 2, step])
        sampling = run.sampling.at(step / run.steps)
        rows = draw_rows(run.concepts.concepts, run.foreign, sampling, rng, run.wordings)
        image, label = batch["image"].to(device), batch["label"].to(device)
        masks = [self._class_masks(label, batch["item"], index) for index in range(len(run.concepts))]
        row_masks = [_union_mask([masks[c] for c in members]) for members in rows.classes]
        known = run.patches.known(batch["item"])
        nested = self.model.config.nested
        labelled, unlabelled = _asked(rows, known, nested)
        asked, class_mask = _mask(labelled | unlabelled, device), _mask(labelled, device)
        with autocast(device, run.dtype):
            text = self.text_tokens(rows)
            out = self.model(image, text, asked, training_output=True)
        losses, target = self.losses, make_target(row_masks, label, nested)
        logits = out.logits
        if unlabelled.any():
            others = _union_mask(masks) & (target == 0)
            logits = merge_into_background(logits, unlabelled.to(device), others)
        parts = {"segmentation": losses["segmentation"](logits, target, class_mask)}
        if out.auxiliary:
            everything = make_target(masks, label, nested)
            guide = deep_supervision_loss(losses["segmentation"], out.auxiliary, everything, _mask(known, device))
            parts["segmentation"] = parts["segmentation"] + run.training.auxiliary_weight * guide
        if "class_embedding" in losses:
            parts["class_embedding"] = losses["class_embedding"](out.class_map, out.logits, asked)
        if "alignment" in losses:
            parts["alignment"] = self._alignment(rows, out.visual, row_masks, labelled.to(device))
        parts = {name: value for name, value in parts.items() if value is not None}
        if "total" in losses:
            return losses["total"](parts)
        total = torch.stack(list(parts.values())).sum()
        return total, {name: value.detach() for name, value in parts.items()} | {"total": total.detach()}

    def _class_masks(self, label: Tensor, items: Tensor, index: int) -> Tensor:
        """(B, D, H, W) bool: where class ``index`` of the table is, in each volume's own label values."""
        mask = torch.zeros_like(label, dtype=torch.bool)
        for place, item in enumerate(items.tolist()):
            values = self.run.patches.items[item][1].values[index]
            for value in values:
                mask[place] |= label[place] == value
        return mask

    def text_tokens(self, rows: Rows) -> TextTokens | None:
        """Stage-0 tokens of the rows; from the store of encoded texts where the BERT is frozen and pools its words."""
        text, vectors = self.model.text, self.run.vectors
        if text is None:
            return None
        if not (vectors and text.pooled):
            return text.encode_unchecked(rows.concepts)
        empty = torch.zeros(text.width, device=self.run.device)
        tokens = torch.stack([torch.stack([vectors.get(t, empty) for t in c.texts]) for c in rows.concepts])
        mask = torch.tensor([[bool(t) for t in c.texts] for c in rows.concepts], device=self.run.device)
        return TextTokens(tokens[None], mask[None])

    def _alignment(
        self, rows: Rows, visual: Tensor, row_masks: list[Tensor | None], class_mask: Tensor
    ) -> Tensor | None:
        """Alignment loss over the classes that are present in the patches of all processes; None with fewer than two
        different ones."""
        nothing = torch.zeros(len(visual), dtype=torch.bool, device=visual.device)
        there = torch.stack([m.flatten(1).any(1) if m is not None else nothing for m in row_masks], 1)
        there, visual = gathered((there & class_mask).to(torch.uint8)), gathered(visual)
        present = [(b, n) for n, b in there.T.nonzero().tolist()]
        if len({rows.classes[n] for _, n in present}) < 2:
            return None
        texts = [[getattr(rows.concepts[n], field) for field in CONCEPT_FIELDS] for _, n in present]
        unique = sorted({t for row in texts for t in row if t})
        if not unique:
            return None
        if self.run.vectors:
            vectors = torch.stack([self.run.vectors[t] for t in unique])
        else:
            vectors = self.model.text.encode_texts(unique)
        device = visual.device
        projected = self.model.class_embeddings.project_text(vectors.to(device))
        place = {t: i for i, t in enumerate(unique)}
        index = torch.tensor([[place.get(t, 0) for t in row] for row in texts], device=device)
        mask = torch.tensor([[bool(t) for t in row] for row in texts], device=device)
        rows_of = torch.stack([visual[b, n] for b, n in present])
        kinds = {members: number for number, members in enumerate(dict.fromkeys(rows.classes))}
        ids = torch.tensor([kinds[rows.classes[n]] for _, n in present], device=device)
        return self.losses["alignment"](rows_of, projected[index], mask, ids)


def _asked(rows: Rows, known: Tensor, nested: bool) -> tuple[Tensor, Tensor]:
    """(B, N) bool each: rows whose classes a volume labels (foreign rows always), and rows that it is asked for though it
    does not label them."""
    labelled = torch.stack([known[:, list(members)].all(1) for members in rows.classes], 1)
    if nested or not rows.unlabelled:
        return labelled, torch.zeros_like(labelled)
    partly = torch.stack([known[:, list(members)].any(1) for members in rows.classes], 1)
    return labelled, ~labelled & ~partly


def _mask(rows: Tensor, device: torch.device) -> Tensor | None:
    """A class mask for model and losses; None, which costs nothing, where no row is hidden."""
    return None if rows.all() else rows.to(device)


def _union_mask(masks: list[Tensor]) -> Tensor | None:
    """Where any of the masks is; None without masks."""
    return torch.stack(masks).any(0) if masks else None


def make_target(masks: list[Tensor | None], label: Tensor, nested: bool) -> Tensor:
    """Masks of the rows (None: an organ that is not there) -> (B, D, H, W) labels 0..N, or (B, N, D, H, W) when nested."""
    if nested:
        return torch.stack(
            [m.float() if m is not None else torch.zeros_like(label, dtype=torch.float32) for m in masks], 1
        )
    target = torch.zeros_like(label, dtype=torch.int64)
    for row, mask in enumerate(masks, start=1):
        if mask is not None:
            target[mask] = row
    return target
