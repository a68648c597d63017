"""Prints the processor time that import and set-up of the panel take, and what they import; for test_panel_life.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "SlicerRig")]

from standins.session import SlicerSession  # noqa: E402

HEAVY = ("torch", "transformers", "monai", "scipy", "nibabel", "SimpleITK", "einops", "safetensors")


def main() -> None:
    session = SlicerSession()
    already = [name for name in HEAVY if name in sys.modules]
    start = time.process_time()
    module = session.load_module(REPOSITORY / "BiPVLSeg" / "BiPVLSeg.py")
    loaded = time.process_time()
    module.widgetRepresentation()
    built = time.process_time()
    heavy = [name for name in HEAVY if name in sys.modules and name not in already]
    print(json.dumps({"import": loaded - start, "setup": built - loaded, "heavy": heavy}))
    session.close()


main()
