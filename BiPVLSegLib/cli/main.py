"""``python -m BiPVLSegLib COMMAND``: parses the line, runs the command, turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import re
import signal
import sys
import warnings

from ..errors import BiPVLError, Cancelled, is_out_of_memory
from . import concepts, demo, devices, evaluate, models, phantoms, remove, segment, serve, train

COMMANDS = (demo, segment, train, evaluate, models, concepts, phantoms, devices, remove, serve)
EXIT_ERROR, EXIT_INTERRUPTED = 1, 130
NOT_PART_OF_THE_EXTENSION = (
    "The extension of 3D Slicer has no code for training and evaluation; install the library with 'pip install .' "
    "in a clone of its repository, into a Python of its own."
)

DESCRIPTION = """\
Text-guided segmentation of CT and MR volumes (BiPVL-Seg).

Nothing is sent anywhere: all commands work on this computer alone. A Hugging Face name given to train as a text encoder is
the only thing that makes a download."""

EPILOG = """\
examples:
  python -m BiPVLSegLib demo
  python -m BiPVLSegLib segment scan.nii.gz -o scan.seg.nrrd --model cardiac-mr
  python -m BiPVLSegLib concepts cine-mr -o my-texts.csv
  python -m BiPVLSegLib segment scan.nii.gz -o scan.seg.nrrd --concepts my-texts.csv --only "left ventricle"
  python -m BiPVLSegLib train --data dataset.json --preset acdc -o my-model

exit code: 0 on success, 1 on an error (one sentence on stderr), 2 on a wrong command line, 130 when interrupted."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m BiPVLSegLib",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        sub = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.add_argument("--traceback", action="store_true", help="show the Python traceback of an error (bug reports)")
        sub.set_defaults(run=module.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    _prepare_process()
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except (Cancelled, KeyboardInterrupt):
        return _failed(options, "Interrupted; nothing half-written is left.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has gone
        return EXIT_ERROR
    except BiPVLError as error:
        if options.traceback:
            raise
        return _failed(options, str(error), EXIT_ERROR)
    except ModuleNotFoundError as error:
        ours = str(error.name).startswith("BiPVLSegLib.")
        if options.traceback or not ours or importlib.util.find_spec("BiPVLSegLib.training"):
            raise
        return _failed(options, NOT_PART_OF_THE_EXTENSION, EXIT_ERROR)
    except OSError as error:
        if options.traceback:
            raise
        what = f"'{error.filename}'" if error.filename else "A file"
        return _failed(options, f"{what} cannot be read or written ({error.strerror or error}).", EXIT_ERROR)
    except (MemoryError, RuntimeError) as error:
        message = _system_problem(error)
        if options.traceback or message is None:
            raise
        return _failed(options, message, EXIT_ERROR)


def _system_problem(error: MemoryError | RuntimeError) -> str | None:
    """A sentence for what the computer and not the program is to blame for."""
    if is_out_of_memory(error):
        return (
            "The memory is full; crop the volume, ask for fewer organs, use --device cpu, or train with a smaller patch_size or "
            "batch_size."
        )
    if re.search(r"CUDA|cuDNN|cuBLAS|NVIDIA|\bMPS\b", str(error)):
        reason = str(error).strip().splitlines()[0]
        return f"The graphics card does not work ({reason}); use --device cpu, or update its driver and PyTorch."
    return None


def _failed(options: argparse.Namespace, message: str, code: int) -> int:
    if getattr(options, "json_progress", False):
        print(json.dumps({"event": "error", "message": message, "exit_code": code}), flush=True)
    print(f"error: {message}" if code == EXIT_ERROR else message, file=sys.stderr)
    return code


def _prepare_process() -> None:
    """UTF-8 output whatever the console, no chatter of libraries, and SIGTERM handled like Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="monai|torch|transformers")
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
