"""Waits for segmentation jobs on stdin and keeps the model loaded between them; for 3D Slicer and other applications.

One JSON object per line comes in and goes out; see BiPVLSegLib/worker/server.py. The process ends when stdin does.
"""

from __future__ import annotations

import argparse
import logging

NAME, HELP = "serve", "segment jobs of another application (for 3D Slicer)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--idle-minutes", type=float, default=10.0, metavar="N",
        help="end after so long without a job (default: 10; 0: never)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    from ..worker.channel import Channel
    from ..worker.server import Server

    logging.getLogger("BiPVLSegLib").propagate = False  # its warnings leave as notes, not twice
    channel = Channel()
    Server(channel, 60 * options.idle_minutes if options.idle_minutes > 0 else None).run()
    channel.leave()
