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
from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import BiPVLError, InputError, ModelError, OutputError
from ..model import BiPVLSegConfig, load_model
from ..model.compact import save_compact
from ..model.loading import quiet
from ..model_store import find_model, read_config, whole_folder
from ..training.checkpoint import STATE_VALUES, recover_folder, replace_folder


def bundle(run: Path, target: Path, *reports: Path, bits: int = 8, unsure_below: float | None = None) -> None:
    """Writes the model folder; one that is there is replaced, its README.md kept.

    Raises:
        BiPVLError: a folder is not what it should be, or the target cannot be written.
    """
    source = find_model(run)
    recover_folder(target)
    if target.is_file() or any(file.name != "README.md" for file in target.glob("*")):  # the card may be there first
        try:
            read_config(target)
        except ModelError as error:
            raise OutputError(f"{target} is no model, and would be replaced; choose another folder.") from error
    if target.resolve() == source.resolve() or (target.parent / "last" / STATE_VALUES).is_file():
        raise OutputError(f"{target} belongs to a training run, which would be spoilt; choose another folder.")
    scores = validation_scores(reports, {whole_folder(source).name, target.name})
    try:
        record = json.loads((source / "training.json").read_text(encoding="utf-8"))
        record["settings"]["init_from"] = Path(record["settings"]["init_from"]).name  # no path of this computer
        record["settings"].pop("concepts", None)  # they are in concepts.csv
        labels = record["settings"]["labels"]
        record["settings"]["labels"] = [[names, absent] for names, absent, *_synthesis in labels]  # which is long
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{source} has no whole training.json ({error}); give the folder of a training run."
        ) from error
    if not (source / "concepts.csv").is_file():
        raise InputError(f"{source} has no concepts.csv; give the folder of a training run.")
    record |= {"validation": scores} if scores else {}
    trained = load_model(source)
    settings = trained.config.to_dict() | {"auxiliary_head": False, "class_embeddings": False}
    if unsure_below is not None:
        settings["unsure_below"] = unsure_below
    model = type(trained)(BiPVLSegConfig(**settings))
    kept = model.state_dict().keys()  # without what only training needs
    state = {key: value for key, value in trained.state_dict().items() if key in kept}
    model.load_state_dict(state)
    if trained.text is not None:
        model.text.tokenizer = trained.text.tokenizer

    def write(folder: Path) -> None:
        with quiet():
            model.save_pretrained(folder)
        own = {k: v for k, v in state.items() if not (trained.config.shared_text and k.startswith("text.bert."))}
        save_compact(own, folder / "model.safetensors", bits)
        shutil.copy(source / "concepts.csv", folder)
        (folder / "training.json").write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
        if (target / "README.md").is_file():
            shutil.copy(target / "README.md", folder)

    replace_folder(target, write)


def validation_scores(reports: Sequence[Path], models: Collection[str]) -> dict[str, float]:
    """Mean Dice per class and overall from the folders of reports on a model of one of these names; nothing without reports."""
    scores = {}
    for report in reports:
        try:
            document = json.loads((report / "report.json").read_text(encoding="utf-8"))
            summary, model = document["summary"], document["details"]["model"]
            found = {f"dice/{name}": entry["dice"]["mean"] for name, entry in summary["classes"].items()}
            scores |= {name: dice for name, dice in found.items() if dice is not None}  # None: in no image
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{report} holds no report of evaluate: {error}.") from error
        if model not in models:
            raise InputError(f"{report} is about the model '{model}', not about {' or '.join(sorted(models))}.")
    return scores | ({"dice/mean": sum(scores.values()) / len(scores)} if scores else {})


def probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("report", type=Path, nargs="*")
    parser.add_argument("--bits", type=int, choices=range(2, 9), default=8, metavar="N", help="2 to 8; default: 8")
    parser.add_argument(
        "--unsure-below", type=probability, metavar="P", help="mean probability, 0 to 1; default: that of the run"
    )
    return parser


def main() -> None:
    chosen = build_parser().parse_args()
    try:
        bundle(chosen.run, chosen.target, *chosen.report, bits=chosen.bits, unsure_below=chosen.unsure_below)
    except BiPVLError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
