"""Lists the models that are there: bundled ones and your own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import BiPVLError
from ..model_store import available_models, find_model, model_summary, user_models_folder

NAME, HELP = "models", "list models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME_OR_FOLDER", help="show the model card of this one")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> None:
    if options.name:
        folder = find_model(options.name)
        card = folder / "README.md"
        if card.is_file() and not options.json:
            print(card.read_text(encoding="utf-8"))
        else:
            print(json.dumps(model_summary(folder) | {"switched_off": _switched_off(folder)}, indent=1))
        return
    summaries = [_summary(name, folder) for name, folder in available_models().items()]
    if options.json:
        print(json.dumps(summaries, indent=1))
        return
    for summary in summaries:
        if "problem" in summary:
            print(f"{summary['name']}: cannot be used. {summary['problem']}\n    {summary['folder']}")
            continue
        scores = summary.get("validation", {})
        judged = [key.removeprefix("dice/") for key in scores if key.startswith("dice/") and key != "dice/mean"]
        of = f" of {', '.join(judged)}" if len(judged) < min(3, len(summary["structures"])) else ""
        score = f", validation Dice {scores['dice/mean']:.3f}{of}" if scores.get("dice/mean") else ""
        print(f"{summary['name']} ({summary['modality']}{score}): {', '.join(summary['structures'])}")
        if summary["switched_off"]:
            print(f"    switched off in its table: {', '.join(summary['switched_off'])}")
        print(f"    {summary['folder']}")
    if not summaries:
        print("There is no model yet.")
    print(f"Put models of your own into {user_models_folder()}, one folder each, or give a folder to --model.")


def _summary(name: str, folder: Path) -> dict[str, Any]:
    """What is known of a model. One that cannot be used must not hide the others."""
    try:
        return model_summary(folder) | {"switched_off": _switched_off(folder)}
    except BiPVLError as error:
        return {"name": name, "folder": str(folder), "problem": str(error)}


def _switched_off(folder: Path) -> list[str]:
    """Rows of the model's own table that are not enabled."""
    from ..concepts import read_csv

    table = folder / "concepts.csv"
    return [row.name for row in read_csv(table) if not row.enabled] if table.is_file() else []
