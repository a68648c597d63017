"""Peak memory and time of a whole large CT: 512 x 512 x 600 voxels, 15 organs, the default network.

    python Testing/Benchmarks/benchmark_memory.py [--device cpu] [--slices 600]

The volume and the weights are random: neither memory nor time depends on what they hold. The volume is read from a compressed
NIfTI file and the result is written as .seg.nrrd, as a user's would be.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def write_ct(path: Path, slices: int) -> None:
    import nibabel

    rng = np.random.default_rng(0)
    noise = rng.integers(-150, 250, (64, 64, slices), dtype=np.int16)
    array = np.tile(noise, (8, 8, 1))
    nibabel.save(nibabel.Nifti1Image(array, np.diag([0.75, 0.75, 1.0, 1.0])), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--slices", type=int, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan, out = Path(folder) / "ct.nii.gz", Path(folder) / "ct.seg.nrrd"
        write_ct(scan, options.slices)

        from BiPVLSegLib.data.presets import get_preset
        from BiPVLSegLib.inference.segmenter import Segmenter
        from BiPVLSegLib.model import BiPVLSegConfig, build_model

        preset = get_preset("amos")
        config = BiPVLSegConfig(preprocessing=preset.preprocessing, concepts=preset.concepts)
        build_model(config).save_pretrained(Path(folder) / "model")
        segmenter = Segmenter(Path(folder) / "model", options.device)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        result = segmenter.segment(scan)
        segmented = time.monotonic() - started
        result.save(out)
        total = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 2**20 if sys.platform != "darwin" else 2**30
    print(
        f"volume             512 x 512 x {options.slices}, working size {' x '.join(map(str, result.info['working_size']))}"
    )
    print(f"device             {result.info['device']}, {result.info['precision']}")
    print(f"windows            {result.info['windows']}")
    print(f"segmenting         {segmented:.0f} s, {segmented / result.info['windows']:.2f} s per window in all")
    print(f"with saving        {total:.0f} s")
    print(f"memory before      {before / unit:.2f} GiB (libraries and model)")
    print(f"peak memory        {peak / unit:.2f} GiB")


if __name__ == "__main__":
    main()
