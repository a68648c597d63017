"""What every evaluation begins with: a model, the cases of a split, and the classes that both know."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..concepts import ConceptSet
from ..data.datalist import Case, Datalist, read_datalist
from ..data.dataset import LabelMapping, pair_labels, read_case, warn_of_nameless
from ..errors import BiPVLError, Cancelled, InputError, OutputError
from ..inference.segmenter import Segmenter
from ..io.volume import Volume
from ..results import SegmentationResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledCases:
    """``asked`` are the rows of ``table`` that the data set labels, ``failed`` the cases that could not be judged, and why."""

    datalist: Datalist
    cases: list[Case]
    segmenter: Segmenter
    table: ConceptSet
    mapping: LabelMapping
    asked: ConceptSet
    failed: dict[str, str] = field(default_factory=dict)

    def segmented(self, **settings: Any) -> Iterator[tuple[Case, Volume, dict[str, np.ndarray], SegmentationResult]]:
        """Each case with its volume, the true mask (I, J, K) of every row that was asked for, and what the model makes of it
        with these settings of ``Segmenter.segment``. Shows a progress bar, and warns at the end where no volume had a voxel of
        any of these rows, or where label values have no name. One bad file must not cost the work on all others: cases that
        cannot be judged go to ``failed``, unless there is no other."""
        seen, nameless = False, []
        for case in tqdm(self.cases, desc="Evaluating", unit="volume"):
            try:
                volume, label = read_case(case, self.segmenter.config.in_channels)
                result = self.segmenter.segment(volume, self.asked, **settings)
            except BiPVLError as error:
                if isinstance(error, Cancelled) or len(self.cases) == 1:
                    raise
                self.failed[case.name] = str(error)
                continue
            truth = self._truth(label)
            nameless = nameless or [(values, case.label) for values in [self.mapping.nameless(label)] if values]
            seen = seen or any(mask.any() for mask in truth.values())
            yield case, volume, truth, result
        if nameless:
            warn_of_nameless(*nameless[0])
        if not seen and len(self.failed) < len(self.cases):
            logger.warning(
                "Not one voxel of the %d volume(s) of %s has a label value of its \"labels\" (%s). If that is not meant, check "
                "the values in the label files.",
                len(self.cases) - len(self.failed), self.datalist.path, self.datalist.labels,
            )  # fmt: skip

    def complain(self, output: Path) -> None:
        """Raises InputError if cases could not be judged. ``output`` has the report on the others."""
        if not self.failed:
            return
        name, reason = next(iter(self.failed.items()))
        others = len(self.cases) - len(self.failed)
        raise InputError(
            f"{len(self.failed)} of {len(self.cases)} volumes could not be judged"
            f"{f'; the report in {output} is about the other {others}' if others else ''}. The first is {name}: {reason}"
        )

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
    segmenter = Segmenter(model, device, precision)
    mapping = pair_labels(datalist, segmenter.table(concepts), segmenter.config.regions)
    table = segmenter.choose_concepts(concepts)
    asked = table.select([name for name, known in zip(table.names, mapping.known, strict=True) if known])
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{output}' cannot be made ({error.strerror}); choose another one.") from error
    return LabelledCases(datalist, cases[:limit], segmenter, table, mapping, asked)
