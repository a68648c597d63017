"""``python -m BiPVLSegLib.tools.class_centres DATA MODEL``: where the structures of a model are to each other.

DATA is the dataset.json that the model was trained on, MODEL its folder. The middles of the structures, over all label maps of
the training split, are written into the model's ``config.json`` (``class_centres``): they tell a run whether a patient lies
askew, and it looks at the volume again, turned straight. Only for models trained with ``preprocessing.body_axes``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..concepts import fold_name
from ..data.datalist import read_datalist
from ..errors import BiPVLError, ModelError
from ..inference.pose import FEWEST, middles
from ..io.volume import read_labels
from ..io.writing import atomic_path
from ..model_store import find_model, read_config

ROUNDS = 10


def measure(data: Path, classes: list[str]) -> dict[str, list[float]]:
    """Class -> mean middle, RAS mm from the mean of all; for classes that are whole in more than half of the label maps.

    Raises:
        BiPVLError: the data cannot be read.
    """
    datalist = read_datalist(data)
    by_name = {fold_name(name): values for name, values in datalist.labels.items()}
    cases = datalist.labelled("training")
    places = np.full((len(cases), len(classes), 3), np.nan)
    for case, place in zip(tqdm(cases, "Measuring", unit="label map"), places, strict=True):
        volume = read_labels(case.label)
        number = np.zeros(int(volume.array.max()) + 1, int)
        for value, name in enumerate(classes, start=1):
            number[[v for v in by_name.get(fold_name(name), ()) if v < len(number)]] = value
        for value, middle in middles(number[volume.array[0]], volume.affine, range(1, len(classes) + 1)).items():
            place[value - 1] = middle
    often = np.isfinite(places[..., 0]).mean(axis=0) > 0.5  # so that any two share a map
    if not often.any():
        return {}
    places = places[:, often]
    places = places[np.isfinite(places[..., 0]).any(axis=1)]
    for _ in range(ROUNDS):  # each onto the mean of all by what it has of it
        places -= np.nanmean(places - np.nanmean(places, axis=0), axis=1, keepdims=True)
    mean = np.nanmean(places, axis=0)
    names = [name for name, there in zip(classes, often, strict=True) if there]
    return dict(zip(names, np.round(mean - mean.mean(axis=0), 1).tolist(), strict=True))


def write(data: Path, model: Path) -> int:
    """Writes the centres into the model's config.json and returns how many there are.

    Raises:
        BiPVLError: data or model cannot be used.
    """
    folder = find_model(model)
    config = read_config(folder)
    if not (config.get("preprocessing") or {}).get("body_axes") or config.get("nested"):
        raise ModelError(
            f"{folder} was not trained on volumes along the axes of the body (preprocessing.body_axes), or its classes overlap: "
            "volumes are not turned for it."
        )
    centres = measure(data, config.get("classes") or [])
    if len(centres) < FEWEST:
        raise ModelError(
            f"Only {len(centres)} of the model's structures are whole in more than half of the label maps of {data}; "
            f"{FEWEST} are needed."
        )
    config["class_centres"] = centres
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return len(centres)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("model", type=Path, metavar="MODEL")
    options = parser.parse_args()
    try:
        print(f"{write(options.data, options.model)} structures")
    except BiPVLError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
