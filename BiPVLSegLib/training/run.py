"""What a training run consists of: model, losses, optimiser and patches; and the loss of one step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..concepts import CONCEPT_FIELDS, Concept, ConceptSet, fold_name, load_concepts
from ..data.datalist import Datalist
from ..data.dataset import PatchDataset, Source, StepSampler, pair_labels
from ..data.presets import Preset
from ..data.rows import Rows, RowSampling, draw_rows
from ..data.synthesis import Synthesis
from ..data.wordings import load_wordings, other_writers
from ..errors import TrainingError
from ..inference.device import autocast, resolve_device, resolve_precision
from ..losses import AlignmentLoss, ClassEmbeddingLoss, SegmentationLoss, UncertaintyWeightedSum, deep_supervision_loss
from ..model import BiPVLSegConfig, TextTokens, build_model, load_model
from ..paths import concepts_folder
from .settings import RunSettings


class TrainingRun:
    """Everything between the settings and the loop."""

    def __init__(self, datalists: list[Datalist], concepts: ConceptSet, preset: Preset, settings: RunSettings):
        self.settings, self.preset, self.concepts = settings, preset, concepts
        self.training = t = settings.training
        self.datalists = datalists
        self.device = resolve_device(t.device)
        self.dtype = resolve_precision(t.precision, self.device)
        torch.manual_seed(t.seed)
        model_settings = {"classes": concepts.names, "auxiliary_head": t.auxiliary_weight > 0, **settings.model}
        try:
            config = BiPVLSegConfig(
                **model_settings,
                preprocessing=settings.preprocessing,
                concepts=concepts.name,
                regions=preset.regions,
            )
            check_patch_size(config)
            self.model = build_model(config, t.text_encoder, freeze_text=t.freeze_text).to(self.device)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"The settings give no network: {str(error).rstrip('.')}.") from error
        if t.init_from:
            self._start_from(t.init_from)
        self.mappings = [pair_labels(datalist, concepts, preset.regions) for datalist in datalists]
        self.syntheses = [
            None if d.synthesis is None else Synthesis.from_dict(d.synthesis, str(d.path)) for d in datalists
        ]
        self.patches = PatchDataset(
            [
                Source(d.split("training"), mapping, synthesis)
                for d, mapping, synthesis in zip(datalists, self.mappings, self.syntheses, strict=True)
            ],
            settings.preprocessing,
            settings.augmentation,
            config.in_channels,
            t.seed,
            None if t.cache == "memory" else Path(t.cache),
        )
        self.sampling = self._row_sampling()
        self.foreign = foreign_concepts(preset, concepts)
        self.wordings = load_wordings(concepts, t.seed) if self.sampling.uses_wordings else None
        self.vectors: dict[str, Tensor] = {}
        if self.model.text is not None:
            self._prepare_texts()
        self.losses = self._build_losses().to(self.device)
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=t.learning_rate, weight_decay=t.weight_decay)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    # ---- setting up ------------------------------------------------------------------------------------------------

    def _start_from(self, name_or_folder: str) -> None:
        """Takes over every weight of another model that fits by name and shape, for fine-tuning."""
        state, own = load_model(name_or_folder).state_dict(), self.model.state_dict()
        fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
        if not any(key.startswith("encoder.") for key in fitting):
            raise TrainingError(
                f"The model '{name_or_folder}' has another vision encoder; nothing of it can be taken over."
            )
        self.model.load_state_dict(fitting, strict=False)

    def _row_sampling(self) -> RowSampling:
        if self.settings.training.rows == "all" or self.model.config.head == "fixed":
            return RowSampling.all_rows()
        try:
            return RowSampling(**self.settings.training.rows)
        except TypeError as error:
            known = ", ".join(field.name for field in dataclasses.fields(RowSampling))
            raise TrainingError(f"The setting rows is the word all, or gives some of: {known} ({error}).") from error

    def _prepare_texts(self) -> None:
        """Checks the texts and brings them apart (see StagedTextEncoder.mean)."""
        text = self.model.text
        rows = [*self.concepts, *self.foreign]
        text.eval()
        if text.pooled:
            everything = [c for path in sorted(concepts_folder().glob("*.csv")) for c in load_concepts(path.stem)]
            text.fit_statistics([t for concept in [*everything, *rows] for t in concept.texts if t])
        for row, concept in enumerate(rows, start=2):
            text.check(concept, row)
        self._encode_texts()

    def _encode_texts(self) -> None:
        """Encodes all texts once where the BERT is frozen."""
        if self.model.text is None or not self.training.freeze_text:
            return
        self.model.text.eval()
        own = {t for concept in [*self.concepts, *self.foreign] for t in concept.texts if t}
        own = sorted(own.union(self.wordings.everything() if self.wordings is not None else ()))
        with torch.no_grad():
            self.vectors = dict(zip(own, self.model.text.encode_texts(own), strict=True))

    def _build_losses(self) -> nn.ModuleDict:
        t, nested = self.training, self.model.config.nested
        losses = nn.ModuleDict({"segmentation": SegmentationLoss(nested)})
        if t.class_embedding_loss:
            losses["class_embedding"] = ClassEmbeddingLoss(nested)
        if self.model.text is not None and (t.global_alignment or t.local_alignment):
            losses["alignment"] = AlignmentLoss(t.global_alignment, t.local_alignment)
        if t.uncertainty_weights:
            losses["total"] = UncertaintyWeightedSum(list(losses))
        return losses

    def _parameter_groups(self) -> list[dict]:
        """No weight decay on vectors and scalars (norms, biases, loss weights)."""
        parameters = [p for p in [*self.model.parameters(), *self.losses.parameters()] if p.requires_grad]
        return [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def train_mode(self) -> None:
        """Training mode for all but a frozen text encoder, whose dropout would only blur its texts."""
        self.model.train()
        if self.model.text is not None and self.training.freeze_text:
            self.model.text.bert.eval()

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    # ---- state -----------------------------------------------------------------------------------------------------

    def trained_state(self) -> dict[str, Tensor]:
        """The model's tensors without those of a frozen text encoder, which never change."""
        frozen = self.model.text is not None and self.training.freeze_text
        return {k: v for k, v in self.model.state_dict().items() if not (frozen and k.startswith("text.bert."))}

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        if unexpected or any(not key.startswith("text.bert.") for key in missing):
            raise ValueError(f"the state does not fit the model: {missing[:1]} {unexpected[:1]}")
        self._encode_texts()  # with the mean and spread of the state: the bundled texts may have changed since

    def fingerprint(self) -> dict:
        """What must be the same when a run is resumed."""
        ignored = ("device", "workers", "validate_every", "validation_cases", "cache")
        training = {k: v for k, v in dataclasses.asdict(self.training).items() if k not in ignored}
        sections = {name: getattr(self.settings, name) for name in ("model", "preprocessing", "augmentation")}
        sections["model"] = {k: v for k, v in sections["model"].items() if k != "keep_largest"}  # not used in training
        data = {"data": [[case.name for case in d.split("training")] for d in self.datalists]}
        texts = {"concepts": [concept.texts for concept in self.concepts]}
        return _plain({**training, **sections, **data, **texts})

    # ---- steps -----------------------------------------------------------------------------------------------------

    def batches(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """The patches of steps first..last-1, one batch a step."""
        t = self.training
        return iter(
            DataLoader(
                self.patches,
                batch_sampler=StepSampler(first, last, t.batch_size),
                num_workers=t.workers,
                pin_memory=self.device.type == "cuda",
                worker_init_fn=_one_thread,
            )
        )

    def step_loss(self, step: int, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss of one step and its parts. All that is random in it depends on (seed, step) only."""
        torch.manual_seed(hash((self.training.seed, step)) % 2**31)
        rows = draw_rows(
            self.concepts.concepts,
            self.foreign,
            self.sampling,
            np.random.default_rng([self.training.seed, 2, step]),
            self.wordings,
        )
        image, label = batch["image"].to(self.device), batch["label"].to(self.device)
        masks = [self._class_masks(label, batch["item"], index) for index in range(len(self.concepts))]
        known = self.patches.known(batch["item"]).to(self.device)
        class_mask = torch.stack([known[:, list(members)].all(1) for members in rows.classes], 1)  # foreign: all known
        row_masks = [_union_mask([masks[c] for c in members]) for members in rows.classes]
        with autocast(self.device, self.dtype):
            text = self._text_tokens(rows)
            out = self.model(image, text, class_mask, training_output=True)
        nested = self.model.config.nested
        target = make_target(row_masks, label, nested)
        losses = self.losses
        parts = {"segmentation": losses["segmentation"](out.logits, target, class_mask)}
        if out.auxiliary:
            everything = make_target(masks, label, nested)
            guide = deep_supervision_loss(losses["segmentation"], out.auxiliary, everything, known)
            parts["segmentation"] = parts["segmentation"] + self.training.auxiliary_weight * guide
        if "class_embedding" in losses:
            parts["class_embedding"] = losses["class_embedding"](out.class_map, out.logits, class_mask)
        if "alignment" in losses:
            parts["alignment"] = self._alignment(rows, out.visual, row_masks, class_mask)
        parts = {name: value for name, value in parts.items() if value is not None}
        if "total" in losses:
            return losses["total"](parts)
        total = torch.stack(list(parts.values())).sum()
        return total, {name: value.detach() for name, value in parts.items()} | {"total": total.detach()}

    def _class_masks(self, label: Tensor, items: Tensor, index: int) -> Tensor:
        """(B, D, H, W) bool: where class ``index`` of the table is, in each volume's own label values."""
        mask = torch.zeros_like(label, dtype=torch.bool)
        for place, item in enumerate(items.tolist()):
            values = self.patches.items[item][1].values[index]
            for value in values:
                mask[place] |= label[place] == value
        return mask

    def _text_tokens(self, rows: Rows) -> TextTokens | None:
        """Stage-0 tokens of the rows; from the store of encoded texts where the BERT is frozen and pools its words."""
        text = self.model.text
        if text is None:
            return None
        if not (self.vectors and text.pooled):
            return text.encode(rows.concepts)
        empty = torch.zeros(text.width, device=self.device)
        tokens = torch.stack([torch.stack([self.vectors.get(t, empty) for t in c.texts]) for c in rows.concepts])
        mask = torch.tensor([[bool(t) for t in c.texts] for c in rows.concepts], device=self.device)
        return TextTokens(tokens[None], mask[None])

    def _alignment(
        self, rows: Rows, visual: Tensor, row_masks: list[Tensor | None], class_mask: Tensor
    ) -> Tensor | None:
        """Alignment loss over the classes that are present in the patches; None with fewer than two different ones."""
        present = [
            (b, n)
            for n, mask in enumerate(row_masks)
            for b in range(len(visual))
            if mask is not None and class_mask[b, n] and mask[b].any()
        ]
        if len({rows.classes[n] for _, n in present}) < 2:
            return None
        texts = [[getattr(rows.concepts[n], field) for field in CONCEPT_FIELDS] for _, n in present]
        unique = sorted({t for row in texts for t in row if t})
        if not unique:
            return None
        if self.vectors:
            vectors = torch.stack([self.vectors[t] for t in unique])
        else:
            vectors = self.model.text.encode_texts(unique)
        projected = self.model.class_embeddings.project_text(vectors.to(self.device))
        place = {t: i for i, t in enumerate(unique)}
        index = torch.tensor([[place.get(t, 0) for t in row] for row in texts], device=self.device)
        mask = torch.tensor([[bool(t) for t in row] for row in texts], device=self.device)
        rows_of = torch.stack([visual[b, n] for b, n in present])
        kinds = {members: number for number, members in enumerate(dict.fromkeys(rows.classes))}
        ids = torch.tensor([kinds[rows.classes[n]] for _, n in present], device=self.device)
        return self.losses["alignment"](rows_of, projected[index], mask, ids)


def check_patch_size(config: BiPVLSegConfig) -> None:
    """Raises ValueError where the patch does not divide into the network's grids, or is one cell at the deepest one."""
    patch, divisor = config.preprocessing["patch_size"], config.divisor
    if len(patch) != 3 or any(p % d for p, d in zip(patch, divisor, strict=True)) or list(patch) == list(divisor):
        raise ValueError(
            f"preprocessing.patch_size is {list(patch)}; along each axis it must be a multiple of {list(divisor)}, and "
            "larger along at least one"
        )


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


def foreign_concepts(preset: Preset, concepts: ConceptSet) -> list[Concept]:
    """Rows for organs that are never in such images, as the preset names them, in all the wordings that there are."""
    own = {fold_name(name) for name in concepts.names}
    found = []
    for name, organs in preset.foreign.items():
        writers = other_writers(name)
        for concept in load_concepts(name):
            if fold_name(concept.name) not in own and (not organs or concept.name in organs):
                found.append(concept)
                found += [writer[fold_name(concept.name)] for writer in writers if fold_name(concept.name) in writer]
    return found


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def _plain(value):
    """What JSON gives back, so that a fingerprint compares equal after a round trip."""
    import json

    return json.loads(json.dumps(value, default=list))
