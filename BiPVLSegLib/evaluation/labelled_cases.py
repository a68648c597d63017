"""What every evaluation begins with: a model, the cases of a split, and the classes that both know."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..concepts import ConceptSet
from ..data.datalist import Case, Datalist, read_datalist
from ..data.dataset import LabelMapping, pair_labels, read_case, warn_of_nameless
from ..errors import InputError, OutputError
from ..inference.segmenter import Segmenter
from ..io.volume import Volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledCases:
    """``asked`` are the rows of ``table`` that the data set labels."""

    datalist: Datalist
    cases: list[Case]
    segmenter: Segmenter
    table: ConceptSet
    mapping: LabelMapping
    asked: ConceptSet

    def __iter__(self) -> Iterator[tuple[Case, Volume, dict[str, np.ndarray]]]:
        """Each case with its volume and the true mask (I, J, K) of every row that was asked for. Shows a progress bar, and
        warns at the end where no volume had a voxel of any of these rows, or where label values have no name."""
        seen, nameless = False, []
        for case in tqdm(self.cases, desc="Evaluating", unit="volume"):
            volume, label = read_case(case, self.segmenter.config.in_channels)
            truth = self._truth(label)
            nameless = nameless or [(values, case.label) for values in [self.mapping.nameless(label)] if values]
            seen = seen or any(mask.any() for mask in truth.values())
            yield case, volume, truth
        if nameless:
            warn_of_nameless(*nameless[0])
        if not seen:
            logger.warning(
                "Not one voxel of the %d volume(s) of %s has a label value of its \"labels\" (%s). If that is not meant, check "
                "the values in the label files.",
                len(self.cases), self.datalist.path, self.datalist.labels,
            )  # fmt: skip

    def read(self, case: Case) -> tuple[Volume, dict[str, np.ndarray]]:
        """The volume of a case, and the true mask of every row that was asked for."""
        volume, label = read_case(case, self.segmenter.config.in_channels)
        return volume, self._truth(label)

    def _truth(self, label: np.ndarray) -> dict[str, np.ndarray]:
        truth = dict(zip(self.table.names, self.mapping.masks(label), strict=True))
        return {name: truth[name] for name in self.asked.names}


def labelled_cases(
    data: str | Path,
    split: str,
    model: str | Path,
    output: Path,
    concepts: str | Path | ConceptSet | None,
    limit: int | None,
    device: str,
    precision: str,
) -> LabelledCases:
    """Reads the data set, loads the model and makes the output folder.

    Raises:
        BiPVLError: the data, the model or the output cannot be used.
    """
    datalist = read_datalist(data)
    cases = datalist.labelled(split)
    if limit is not None and limit < 1:
        raise InputError(f"At least one volume must be judged, not {limit}.")
    cases = cases[:limit]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{output}' cannot be made ({error.strerror}); choose another one.") from error
    segmenter = Segmenter(model, device, precision)
    mapping = pair_labels(datalist, segmenter.table(concepts), segmenter.config.regions)
    table = segmenter.choose_concepts(concepts)
    asked = table.select([name for name, known in zip(table.names, mapping.known, strict=True) if known])
    return LabelledCases(datalist, cases, segmenter, table, mapping, asked)
