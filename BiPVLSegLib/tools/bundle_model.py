"""Makes the model folder that ships from the folder of a training run.

    python -m BiPVLSegLib.tools.bundle_model RUN Resources/Models/NAME [REPORT ...] [--bits N]

REPORTs are folders that ``evaluate`` wrote for this model, one per data set: their figures, on the input grids of all cases,
take the place of those of the validation during training.

Weights are stored in eight bits, or in fewer of them (``model.compact``). What only training uses, the guide heads and the
layers under the losses on embeddings, is left out. Where only a rehearsal lies between the model in the target folder and the
new one, its weights file stays as it is and what has changed goes into a second one: each version of a file stays in the history
of a repository for good.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..model import BiPVLSegConfig, BiPVLSegModel, load_model
from ..model.compact import REHEARSED, is_compact, load_compact, save_compact
from ..model.loading import quiet
from ..model_store import find_model
from ..training.checkpoint import replace_folder


def bundle(run: Path, target: Path, *reports: Path, bits: int = 8) -> None:
    source = find_model(run)
    trained = load_model(source)
    settings = trained.config.to_dict() | {"auxiliary_head": False, "class_embeddings": False}
    model = BiPVLSegModel(BiPVLSegConfig(**settings))
    state = {k: v for k, v in trained.state_dict().items() if not k.startswith(("auxiliary.", "class_embeddings."))}
    model.load_state_dict(state)
    model.text.tokenizer = trained.text.tokenizer if trained.text is not None else None

    def write(folder: Path) -> None:
        with quiet():
            model.save_pretrained(folder)
        own = {k: v for k, v in state.items() if not (trained.config.shared_text and k.startswith("text.bert."))}
        there = target / "model.safetensors"
        changed = own.keys()
        if there.is_file() and is_compact(there):
            changed = changed_tensors(load_compact(there), own)
        if changed and all(key in own and key.startswith(("fusion.", "head.")) for key in changed):
            shutil.copy(there, folder)
            save_compact({key: own[key] for key in changed}, folder / REHEARSED, bits)
        else:
            save_compact(own, folder / "model.safetensors", bits)
        shutil.copy(source / "concepts.csv", folder)
        record = json.loads((source / "training.json").read_text(encoding="utf-8"))
        record["settings"]["init_from"] = Path(record["settings"]["init_from"]).name  # no path of this computer
        if reports:
            record["validation"] = validation_scores(reports)
        (folder / "training.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        if (target / "README.md").is_file():
            shutil.copy(target / "README.md", folder)

    replace_folder(target, write)


def changed_tensors(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that are in one state dict only, or not the same in both."""

    def same(key: str) -> bool:
        if key not in before or key not in after or before[key].shape != after[key].shape:
            return False
        return torch.equal(before[key], after[key])

    return {key for key in before.keys() | after.keys() if not same(key)}


def validation_scores(reports: Sequence[Path]) -> dict[str, float]:
    """Mean Dice per class and overall from the folders of reports."""
    scores = {}
    for report in reports:
        summary = json.loads((report / "report.json").read_text(encoding="utf-8"))["summary"]
        scores |= {f"dice/{name}": entry["dice"]["mean"] for name, entry in summary["classes"].items()}
    return scores | {"dice/mean": sum(scores.values()) / len(scores)}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("report", type=Path, nargs="*")
    parser.add_argument("--bits", type=int, choices=range(2, 9), default=8, metavar="N", help="2 to 8; default: 8")
    return parser


if __name__ == "__main__":
    chosen = build_parser().parse_args()
    bundle(chosen.run, chosen.target, *chosen.report, bits=chosen.bits)
