"""Makes the model folder that ships from the folder of a training run.

    python -m BiPVLSegLib.tools.bundle_model RUN Resources/Models/NAME [REPORT]

REPORT is the folder that ``evaluate`` wrote for this model: its figures, on the input grids of all cases, take the place of
those of the validation during training.

Weights are stored in half precision, and the guide heads, which only training uses, are left out.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from ..model import BiPVLSegConfig, BiPVLSegModel, load_model
from ..model.loading import quiet
from ..model_store import find_model
from ..training.checkpoint import replace_folder


def bundle(run: Path, target: Path, report: Path | None = None) -> None:
    source = find_model(run)
    trained = load_model(source)
    settings = trained.config.to_dict() | {"auxiliary_head": False}
    model = BiPVLSegModel(BiPVLSegConfig(**settings))
    state = {k: v for k, v in trained.state_dict().items() if not k.startswith("auxiliary.")}
    model.load_state_dict(state)
    model.text.tokenizer = trained.text.tokenizer if trained.text is not None else None

    def write(folder: Path) -> None:
        with quiet():
            model.half().save_pretrained(folder)
        shutil.copy(source / "concepts.csv", folder)
        record = json.loads((source / "training.json").read_text(encoding="utf-8"))
        if report is not None:
            record["validation"] = validation_scores(report)
        (folder / "training.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        if (target / "README.md").is_file():
            shutil.copy(target / "README.md", folder)

    replace_folder(target, write)


def validation_scores(report: Path) -> dict[str, float]:
    """Mean Dice per class and overall from the folder of a report."""
    summary = json.loads((report / "report.json").read_text(encoding="utf-8"))["summary"]
    scores = {f"dice/{name}": entry["dice"]["mean"] for name, entry in summary["classes"].items()}
    return scores | {"dice/mean": summary["mean_dice"]}


if __name__ == "__main__":
    bundle(*map(Path, sys.argv[1:4]))
