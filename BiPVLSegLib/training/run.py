"""What a training run consists of: model, losses, optimiser and patches."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ..concepts import Concept, ConceptSet, fold_name, load_concepts
from ..data.datalist import Datalist, check_labelled, check_splits
from ..data.dataset import PatchDataset, Source, StepSampler, pair_labels
from ..data.presets import Preset
from ..data.rows import RowSampling
from ..data.synthesis import Synthesis
from ..data.wordings import load_wordings, other_writers
from ..errors import TrainingError
from ..inference.device import resolve_device, resolve_precision
from ..losses import AlignmentLoss, ClassEmbeddingLoss, SegmentationLoss, UncertaintyWeightedSum
from ..model import BiPVLSegConfig, build_model
from ..model_store import find_model, read_config
from ..paths import concepts_folder
from . import distributed
from .checkpoint import read_statistics, read_training_state
from .rounding import Rounding
from .settings import RunSettings
from .start import Start, take_over
from .step import TrainingStep
from .thin import make_thin_safe


class TrainingRun:
    """Everything between the settings and the loop."""

    def __init__(
        self,
        datalists: list[Datalist],
        concepts: ConceptSet,
        preset: Preset,
        settings: RunSettings,
        resumed: Path | None = None,
    ):
        """``resumed``: the checkpoint that will be loaded; one of other settings is refused before the long work."""
        table, concepts = concepts, concepts.enabled()
        self.settings, self.preset, self.concepts = settings, preset, concepts
        self.training = t = settings.training
        self.datalists = datalists
        check_splits(datalists)
        check_labelled(datalists)
        if t.batch_size % distributed.count():
            raise TrainingError(
                f"A batch of {t.batch_size} cannot be shared out to {distributed.count()} processes; set batch_size to a "
                "multiple of their number."
            )
        self.device = resolve_device(t.device)
        self.dtype = resolve_precision(t.precision, self.device)
        torch.manual_seed(t.seed)
        model_settings = {"classes": concepts.names, "auxiliary_head": t.auxiliary_weight > 0, **settings.model}
        # a checkpoint has all of the model that the run began with
        going_on = resumed is not None and (resumed / "config.json").is_file()
        if t.init_from:
            start = read_config(resumed if going_on else find_model(t.init_from))
            model_settings.setdefault("head_prototypes", start.get("head_prototypes", 1))
            # other images may be of smaller patients; a rehearsal changes nothing of what images show
            if settings.preprocessing["body_axes"] and not (t.steps or t.epochs):
                model_settings["class_centres"] = start.get("class_centres")
        try:
            config = BiPVLSegConfig(
                **model_settings,
                preprocessing=settings.preprocessing,
                concepts=concepts.name,
                regions=preset.regions,
            )
            check_patch_size(config)
            check_quarter_turns(config, settings.augmentation["quarter_turns"])
            self.model = build_model(config, t.text_encoder, freeze_text=t.freeze_text).to(self.device)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"The settings give no network: {str(error).rstrip('.')}.") from error
        except OSError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise TrainingError(
                f"The text encoder '{t.text_encoder}' cannot be loaded ({reason}); give a bundled name or a folder with "
                "model.safetensors and tokenizer files."
            ) from error
        if self.device.type == "cpu" and self.dtype == torch.bfloat16:
            make_thin_safe(self.model)
        self.start = take_over(self.model, t.init_from, t.text_encoder) if t.init_from and not going_on else Start()
        self.has_statistics = self.start.has_statistics
        self._freeze(t.freeze)
        self.mappings = [pair_labels(datalist, table, preset.regions) for datalist in datalists]
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
            t.weights,
        )
        self.sampling = self._row_sampling()
        draws_foreign = self.sampling.foreign or t.rehearsal
        self.foreign = foreign_concepts(preset, concepts) if draws_foreign else []  # reading their texts takes a while
        self.wordings = load_wordings(concepts, t.seed) if self.sampling.uses_wordings else None
        self.vectors: dict[str, Tensor] = {}
        if resumed is not None:
            read_training_state(resumed, self.fingerprint())
            statistics = read_statistics(resumed)
            if self.model.text is not None and statistics is not None:  # half a minute of all texts of all sets
                self.model.text.mean.copy_(statistics[0])
                self.model.text.std.copy_(statistics[1])
                self.has_statistics = True
        if self.model.text is not None:
            self._prepare_texts()
        self.losses = self._build_losses().to(self.device)
        self.optimizer = torch.optim.AdamW(
            self._parameter_groups(),
            lr=t.learning_rate,
            weight_decay=t.weight_decay,
            fused=self.device.type == "cpu",  # a seventh of the time of the loop over hundreds of small tensors
        )
        stored = ((n, p) for n, p in self.model.named_parameters() if p.requires_grad or not n.startswith("text.bert."))
        self.rounding = Rounding(stored, t.bits)
        self.step: nn.Module = TrainingStep(self)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    # ---- setting up ------------------------------------------------------------------------------------------------

    def _freeze(self, parts: list[str]) -> None:
        parameters = dict(self.model.named_parameters())
        for part in parts:
            found = [name for name in parameters if name == part or name.startswith(f"{part}.")]
            if not found:
                known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in parameters))
                raise TrainingError(
                    f"The setting freeze names {part}, which the network has not; its parts are: {known}."
                )
            for name in found:
                parameters[name].requires_grad_(False)
        if not any(p.requires_grad for p in parameters.values()):
            raise TrainingError("The setting freeze leaves nothing to train.")

    def _row_sampling(self) -> RowSampling:
        if self.settings.training.rows == "all" or self.model.config.head == "fixed":
            return RowSampling.all_rows()
        return RowSampling(**self.settings.training.rows)

    def _prepare_texts(self) -> None:
        """Checks the texts and brings them apart (see StagedTextEncoder.mean)."""
        text = self.model.text
        rows = [*self.concepts, *self.foreign]
        text.eval()
        if text.pooled and not self.has_statistics:
            everything = [c for path in sorted(concepts_folder().glob("*.csv")) for c in load_concepts(path.stem)]
            text.fit_statistics([t for concept in [*everything, *rows] for t in concept.texts if t])
        for concept in rows:
            text.check(concept)
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
        if t.class_embedding_loss and self.model.class_embeddings is not None:
            losses["class_embedding"] = ClassEmbeddingLoss(nested)
        aligned = self.model.text is not None and self.model.class_embeddings is not None
        if aligned and (t.global_alignment or t.local_alignment):
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
        text = self.model.text
        before = [] if text is None else [text.mean.clone(), text.std.clone()]
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        wrong = [*unexpected, *(key for key in missing if not key.startswith("text.bert."))]
        if wrong:
            raise ValueError(f"{wrong[0]} is in one of state and model only")
        if before and not (torch.equal(before[0], text.mean) and torch.equal(before[1], text.std)):
            self._encode_texts()  # the bundled texts, and with them mean and spread, have changed since the run began

    def fingerprint(self) -> dict:
        """What must be the same when a run is resumed, as plain JSON data."""
        ignored = ("device", "workers", "validate_every", "validation_cases", "cache")
        training = {k: v for k, v in dataclasses.asdict(self.training).items() if k not in ignored}
        sections = {name: getattr(self.settings, name) for name in ("model", "preprocessing", "augmentation")}
        unused = ("keep_largest", "unsure_below")  # in training
        sections["model"] = {k: v for k, v in sections["model"].items() if k not in unused}
        data = {
            "data": [[case.name for case in d.split("training")] for d in self.datalists],
            "validation": [[case.name for case in d.cases["validation"]] for d in self.datalists],
            "labels": [[d.labels, d.absent, d.synthesis] for d in self.datalists],
        }
        words = [] if self.wordings is None else self.wordings.everything()
        words = json.dumps([words, [concept.texts for concept in self.foreign]])
        texts = {
            "concepts": [concept.texts for concept in self.concepts],
            "names": self.concepts.names,
            "other words": hashlib.sha256(words.encode()).hexdigest(),
        }
        return _plain({**training, **sections, **data, **texts})

    # ---- steps -----------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        t = self.training
        return t.steps if not t.epochs else max(1, round(t.epochs * len(self.patches.items) / t.batch_size))

    def batches(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """The patches of steps first..last-1, one batch a step."""
        t = self.training
        return iter(
            DataLoader(
                self.patches,
                batch_sampler=StepSampler(first, last, t.batch_size, distributed.rank(), distributed.count()),
                num_workers=t.workers,
                pin_memory=self.device.type == "cuda",
                worker_init_fn=_one_thread,
            )
        )

    def step_loss(self, step: int, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss of one step and its parts, see ``TrainingStep``."""
        return self.step(step, batch)

    def distribute(self) -> None:
        """Gradients become means over all processes. Call it once the weights are those to start from."""
        if distributed.count() > 1:
            devices = [self.device] if self.device.type == "cuda" else None
            self.step = DistributedDataParallel(
                self.step, devices, broadcast_buffers=False, find_unused_parameters=True
            )


def check_patch_size(config: BiPVLSegConfig) -> None:
    """Raises ValueError where the patch does not divide into the network's grids, or is one cell at the deepest one."""
    patch, divisor = config.preprocessing["patch_size"], config.divisor
    if len(patch) != 3 or any(p % d for p, d in zip(patch, divisor, strict=True)) or list(patch) == list(divisor):
        raise ValueError(
            f"preprocessing.patch_size is {list(patch)}; along each axis it must be a multiple of {list(divisor)}, and "
            "larger along at least one"
        )


def check_quarter_turns(config: BiPVLSegConfig, axes: list[int]) -> None:
    """Raises ValueError where a patch that is turned by 90 degrees would have another shape."""
    sides = {config.preprocessing["patch_size"][axis] for axis in axes}
    if len(sides) > 1:
        raise ValueError(
            f"augmentation.quarter_turns turns patches in the plane of the axes {list(axes)}, along which "
            f"preprocessing.patch_size {list(config.preprocessing['patch_size'])} must then be the same"
        )


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
    return json.loads(json.dumps(value, default=list))
