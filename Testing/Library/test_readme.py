"""The commands and the Python of the README do what it says: they are run here, on generated hearts.

Left out are the two that set up an environment (``.ci/run`` runs them) and the benchmarks. Trainings are cut to two steps of
one patch, and to the model's own texts: reading all their other wordings takes longer than the steps.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
from test_io import as_itk, write_dicom

from BiPVLSegLib.cli.main import main
from BiPVLSegLib.data.phantom import cine_phantom

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
SHORTER = {"steps=300": "steps=2", "validate_every=100": "validate_every=0"}
ADDED = {"phantoms": ["--training", "2", "--validation", "1"], "train": ["--set", "rows=all", "batch_size=1"]}


def commands(heading: str) -> list[list[str]]:
    """Arguments of each command of the library in that section, as the shell would take them apart."""
    _, _, section = README.partition(f"## {heading}\n")
    section = section.partition("\n## ")[0]
    lines = [line for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    start = "python -m BiPVLSegLib "
    found = [shlex.split(line.removeprefix(start), comments=True) for line in lines if line.startswith(start)]
    assert found, f"no commands below '{heading}'"
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """With the files that the commands name: hearts of 64 x 64 x 6 voxels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIPVLSEG_MODELS", str(tmp_path / "models"))
    heart = cine_phantom(seed=1, shape=(64, 64, 6), spacing=(3.0, 3.0, 10.0))
    for name in ("scan.nii.gz", "head-t1.nii.gz", "abdomen.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(heart.image, heart.affine), tmp_path / name)
    nibabel.save(nibabel.Nifti1Image(heart.labels, heart.affine), tmp_path / "labels-of-scan.nii.gz")
    beating = np.stack([heart.image, heart.image[::-1]], axis=-1)
    nibabel.save(nibabel.Nifti1Image(beating, heart.affine), tmp_path / "beating.nii.gz")
    write_dicom(tmp_path / "dicom_folder", as_itk(np.asarray(heart.image, np.int16), heart.affine))
    dataset = {
        "labels": {
            "0": "background",
            "1": "right ventricle",
            "2": "left ventricular myocardium",
            "3": "left ventricle",
        },
        "validation": [{"image": "scan.nii.gz", "label": "labels-of-scan.nii.gz"}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    return tmp_path


def run(arguments: list[str]) -> None:
    arguments = arguments + ADDED.get(arguments[0], [])
    assert main([SHORTER.get(argument, argument) for argument in arguments]) == 0, shlex.join(arguments)


def outputs(arguments: list[str]) -> list[str]:
    return [arguments[n + 1] for n, argument in enumerate(arguments) if argument in ("-o", "--output")]


@pytest.mark.parametrize("heading", ["Command line", "Train on your own data"])
def test_the_commands(folder, heading):
    for arguments in commands(heading):
        run(arguments)
        for output in outputs(arguments):
            assert (folder / output).exists(), f"{shlex.join(arguments)} wrote nothing"


def test_the_python(folder):
    heart = nibabel.load(folder / "scan.nii.gz")
    names = {"array": np.asarray(heart.dataobj), "affine": heart.affine}
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import BiPVLSegLib" in b)
    exec(block, names)  # noqa: S102
    assert (folder / "scan.seg.nrrd").exists()
    assert names["result"].labelmap.shape == heart.shape and names["result"].labelmap.max() == 1
