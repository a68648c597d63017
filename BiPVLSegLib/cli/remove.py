"""Lists what BiPVLSeg keeps on this computer outside of its installation, with sizes; removes it with --yes.

Listed are models of your own (~/.bipvlseg/models, or the folder that $BIPVLSEG_MODELS names) and what runs have left in
Slicer's temporary folder when Slicer was killed. Other files, bundled models, results, training runs, scenes and Python
packages stay."""

from __future__ import annotations

import argparse

NAME, HELP = "remove", "remove models of your own, and leftovers"

SETTINGS = (
    "Slicer's own settings of the panel are removed in the panel: Advanced, 'Remove models and settings...'; and so are "
    "leftovers in a temporary folder that was chosen in Slicer's settings."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="remove all that is listed without this option")


def run(options: argparse.Namespace) -> None:
    from ..errors import OutputError
    from ..removal import find_kept, foreign_text, megabytes, remove

    kept = find_kept()
    done = remove(kept) if options.yes else None
    listed = kept if done is None else done.removed
    if listed:
        print("This is what BiPVLSeg keeps on this computer:" if done is None else "Removed:")
        for item in listed:
            print(f"  {item.kind.value:<8}  {megabytes(item.size):>10}  {item.path}")
        print(f"  {'together':<8}  {megabytes(sum(item.size for item in listed)):>10}")
    elif not kept:
        print("There are no models of your own on this computer, and no leftovers.")
    for line in (foreign_text(), SETTINGS):
        if line:
            print(line)
    if done is None and kept:
        print("Nothing was removed; 'python -m BiPVLSegLib remove --yes' removes all that is listed.")
    if done is not None and done.problems:
        raise OutputError(" ".join(done.problems))
