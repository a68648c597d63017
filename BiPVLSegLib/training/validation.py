"""Validation during training: Dice per class on the working grid, by sliding windows."""

from __future__ import annotations

import numpy as np
import torch

from ..concepts import Concept
from ..data.dataset import read_case
from ..data.preprocessing import plan_grid, prepare_image
from ..geometry.resample import labels_to_working_grid
from ..inference.sliding_window import sliding_window_logits
from .run import TrainingRun


class Validator:
    """Keeps the preprocessed validation volumes of a run and scores its model on them."""

    def __init__(self, run: TrainingRun):
        self.run = run
        cases = []
        for datalist, mapping in zip(run.datalists, run.mappings, strict=True):
            if datalist.cases.get("validation"):
                cases += [(case, mapping) for case in datalist.split("validation") if case.label is not None]
        limit = run.training.validation_cases
        if limit and limit < len(cases):  # spread over the list, so that several data sets and patients are in
            cases = [cases[round(i)] for i in np.linspace(0, len(cases) - 1, limit)]
        self.volumes = [(*self._load(case), mapping) for case, mapping in cases]

    def _load(self, case) -> tuple[torch.Tensor, torch.Tensor]:
        preprocessing = self.run.settings.preprocessing
        volume, label = read_case(case, self.run.model.config.in_channels)
        grid = plan_grid(volume.array.shape[1:], volume.affine, preprocessing)
        return prepare_image(volume.array, grid, preprocessing).half(), labels_to_working_grid(label, grid).short()

    def __call__(self) -> dict[str, float]:
        """Mean Dice per class over the volumes in which it occurs, and "dice/mean"; empty without validation volumes."""
        run, model = self.run, self.run.model
        concepts: tuple[Concept, ...] = run.concepts.concepts
        scores: dict[str, list[float]] = {name: [] for name in run.concepts.names}
        model.eval()
        for image, label, mapping in self.volumes:
            asked = [i for i, known in enumerate(mapping.known) if known]
            with torch.inference_mode():
                text = model.encode([concepts[i] for i in asked]) if model.text is not None else None
            logits = sliding_window_logits(
                model, image.float(), text, device=run.device, dtype=run.dtype,
                overlap=run.training.validation_overlap,
            )  # fmt: skip
            if model.config.head == "fixed":  # it answers for all classes: only those that are labelled may win
                offset = 0 if model.config.nested else 1
                logits = logits[[*range(offset), *(i + offset for i in asked)]]
            masks = mapping.masks(label)
            winner = None if model.config.nested else logits.argmax(0).cpu()
            for channel, index in enumerate(asked):
                if not masks[index].any():
                    continue
                predicted = (logits[channel] > 0).cpu() if winner is None else winner == channel + 1
                overlap = (predicted & masks[index]).sum().item()
                size = predicted.sum().item() + masks[index].sum().item()
                scores[run.concepts.names[index]].append(2 * overlap / size)
        result = {f"dice/{name}": float(np.mean(values)) for name, values in scores.items() if values}
        if result:
            result["dice/mean"] = float(np.mean(list(result.values())))
        return result
