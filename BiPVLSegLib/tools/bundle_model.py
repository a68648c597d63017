"""Makes the model folder that ships from the folder of a training run.

    python -m BiPVLSegLib.tools.bundle_model RUN Resources/Models/NAME [REPORT ...] [--bits N] [--unsure-below P]

REPORTs are folders that ``evaluate`` wrote for this model, one per data set: their figures, on the input grids of all cases,
take the place of those of the validation during training.

Weights are stored in eight bits, or in fewer of them (``model.compact``). What only training uses, the guide heads and the
layers under the losses on embeddings, is left out. The confidence below which a segment is called unsure
(``BiPVLSegConfig.unsure_below``) belongs to the weights, so it is given anew with them; otherwise it is that of the run.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..model import BiPVLSegConfig, BiPVLSegModel, load_model
from ..model.compact import save_compact
from ..model.loading import quiet
from ..model_store import find_model
from ..training.checkpoint import replace_folder


def bundle(run: Path, target: Path, *reports: Path, bits: int = 8, unsure_below: float | None = None) -> None:
    source = find_model(run)
    trained = load_model(source)
    settings = trained.config.to_dict() | {"auxiliary_head": False, "class_embeddings": False}
    if unsure_below is not None:
        settings["unsure_below"] = unsure_below
    model = BiPVLSegModel(BiPVLSegConfig(**settings))
    state = {k: v for k, v in trained.state_dict().items() if not k.startswith(("auxiliary.", "class_embeddings."))}
    model.load_state_dict(state)
    model.text.tokenizer = trained.text.tokenizer if trained.text is not None else None

    def write(folder: Path) -> None:
        with quiet():
            model.save_pretrained(folder)
        own = {k: v for k, v in state.items() if not (trained.config.shared_text and k.startswith("text.bert."))}
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
    parser.add_argument(
        "--unsure-below", type=float, metavar="P", help="mean probability, 0 to 1; default: that of the run"
    )
    return parser


if __name__ == "__main__":
    chosen = build_parser().parse_args()
    bundle(chosen.run, chosen.target, *chosen.report, bits=chosen.bits, unsure_below=chosen.unsure_below)
