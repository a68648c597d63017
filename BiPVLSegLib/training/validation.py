"""Validation during training: Dice per class on the working grid, by sliding windows."""

from __future__ import annotations

import logging

import numpy as np
import torch

from ..concepts import Concept
from ..data.dataset import read_case, read_label_map, warn_of_nameless
from ..data.preprocessing import plan_grid, prepare_image
from ..data.synthesis import SynthesizeImaged
from ..geometry.resample import labels_to_working_grid
from ..inference.sliding_window import sliding_window_logits
from . import distributed
from .run import TrainingRun

logger = logging.getLogger(__name__)


class Validator:
    """Keeps the preprocessed validation volumes of a run and scores its model on them."""

    def __init__(self, run: TrainingRun):
        self.run = run
        data_sets = [
            [(case, mapping, synthesis) for case in datalist.labelled("validation")]
            for datalist, mapping, synthesis in zip(run.datalists, run.mappings, run.syntheses, strict=True)
            if any(case.label is not None for case in datalist.cases["validation"])
        ]
        if not data_sets and distributed.rank() == 0:
            logger.warning(
                'No data set has labelled volumes under "validation": nothing will judge this training, and its "best" is the '
                "newest."
            )
        cases, limit = sum(data_sets, start=[]), run.training.validation_cases
        if limit and limit <= len(data_sets):  # each is judged
            cases = [data_set[0] for data_set in data_sets]
        elif limit and limit < len(cases):  # spread over the list, so that several data sets and patients are in
            cases = [cases[round(i)] for i in np.linspace(0, len(cases) - 1, limit)]
        self._told: set[int] = set()
        numbered = list(enumerate(cases))[distributed.rank() :: distributed.count()]  # each process its own
        self.volumes = [
            (number, *self._load(case, mapping, synthesis, number), mapping)
            for number, (case, mapping, synthesis) in numbered
        ]

    def _load(self, case, mapping, synthesis, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        preprocessing = self.run.settings.preprocessing
        if not case.images:  # one image of the label map, the same at every validation
            label = read_label_map(case, synthesis, preprocessing)
            make_image = SynthesizeImaged(synthesis, preprocessing["intensity"]).set_random_state(seed=number)
            return make_image({"label": label[None]})["image"].half(), label
        volume, label = read_case(case, self.run.model.config.in_channels)
        nameless = [] if id(mapping) in self._told else mapping.nameless(label)
        if nameless:
            self._told.add(id(mapping))
            warn_of_nameless(nameless, case.label)
        grid = plan_grid(volume.array.shape[1:], volume.affine, preprocessing)
        image, box = prepare_image(volume.array, grid, preprocessing)
        return image.half(), labels_to_working_grid(label, grid)[box].short()

    def __call__(self) -> dict[str, float]:
        """Mean Dice per class over the volumes in which it occurs, and "dice/mean"; empty without validation volumes.

        The same in every process.
        """
        run, model = self.run, self.run.model
        concepts: tuple[Concept, ...] = run.concepts.concepts
        found: dict[int, dict[str, float]] = {}
        model.eval()
        for number, image, label, mapping in self.volumes:
            found[number] = {}
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
                found[number][run.concepts.names[index]] = 2 * overlap / size
        everything = {k: v for part in distributed.gathered_objects(found) for k, v in part.items()}
        in_order = [everything[number] for number in sorted(everything)]  # a mean must not depend on who computed what
        scores = {name: [case[name] for case in in_order if name in case] for name in run.concepts.names}
        result = {f"dice/{name}": float(np.mean(values)) for name, values in scores.items() if values}
        if result:
            result["dice/mean"] = float(np.mean(list(result.values())))
        return result
