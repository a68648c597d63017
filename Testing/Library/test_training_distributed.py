"""Training with several processes: the same as one process with the same batch."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_data import write_hearts, write_left_ventricles
from tiny_training import a_run, small, write_bert

from BiPVLSegLib.errors import TrainingError
from BiPVLSegLib.training import distributed

HERE = Path(__file__).parent
GRADIENTS = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from tiny_training import a_run
from BiPVLSegLib.training import distributed
first, second, output, *settings = sys.argv[1:]
with distributed.process_group("cpu"):
    run = a_run([Path(first), Path(second)], settings)
    run.train_mode()
    run.distribute()
    for step in range(3):
        run.step_loss(step, next(run.batches(step, step + 1)))[0].backward()
    named = [("model." + n, p) for n, p in run.model.named_parameters()]
    named += [("losses." + n, p) for n, p in run.losses.named_parameters()]
    if distributed.rank() == 0:
        save_file({n: p.grad.contiguous() for n, p in named if p.grad is not None}, output)
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> list[str]:
    return [*small(write_bert(tmp_path_factory.mktemp("bert"))), "batch_size=4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[Path]:
    """Two data sets, so that the processes have different classes and numbers of present ones to average over."""
    folder = tmp_path_factory.mktemp("data")
    return [write_hearts(folder / "all", 3, 2), write_left_ventricles(folder / "part")]


def launch(processes: int, *arguments: str, module: bool = True) -> subprocess.CompletedProcess:
    """Runs Python in so many processes, as torchrun does; in one without it."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += (["-m", "BiPVLSegLib"] if module else []) + list(arguments)
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=300
    )


def train(processes: int, data: list[Path], output: Path, settings: list[str], *more: str) -> str:
    arguments = ["train", "--preset", "acdc", "--data", *map(str, data), "-o", str(output), "--device", "cpu"]
    done = launch(processes, *arguments, "--set", *settings, *more)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses_of(folder: Path) -> dict[tuple[str, str], float]:
    with open(folder / "log.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] not in ("patches_per_second", "data_share")]
    values = {(row["step"], row["name"]): float(row["value"]) for row in rows}
    assert len(values) == len(rows), "only one process writes"
    return values


def test_the_gradients_of_two_processes_are_those_of_one(data: list[Path], settings: list[str], tmp_path: Path) -> None:
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    for processes in (1, 2):
        output = tmp_path / f"{processes}.safetensors"
        done = launch(processes, str(script), *map(str, data), str(output), *settings, module=False)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = load_file(tmp_path / "1.safetensors"), load_file(tmp_path / "2.safetensors")
    assert one.keys() == two.keys()
    largest = max(gradient.abs().max().item() for gradient in one.values())
    for name, gradient in one.items():
        assert torch.allclose(gradient, two[name], rtol=1e-3, atol=1e-5 * largest), name


def test_two_processes_train_resume_and_report_as_one(data: list[Path], settings: list[str], tmp_path: Path) -> None:
    train(1, data, tmp_path / "one", settings, "steps=4", "validate_every=2")
    printed = train(2, data, tmp_path / "two", settings, "steps=4", "validate_every=2")
    assert printed.count("The model is in") == 1
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert one.keys() == two.keys() and any(name == "dice/mean" for _, name in one)
    assert one["2", "total"] == pytest.approx(two["2", "total"], rel=1e-3)
    assert one["2", "gradient_norm"] == pytest.approx(two["2", "gradient_norm"], rel=1e-2)
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["best", "last", "log.csv", "tensorboard"]
    first, second = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("one", "two"))
    for name, weights in first.items():
        assert torch.allclose(weights, second[name], atol=2e-3), name  # four steps of Adam from the same weights

    # killed after the second step and resumed, still in two processes: bit for bit the same
    again = tmp_path / "again"
    kill = tmp_path / "kill.py"
    kill.write_text(
        "import sys\nfrom BiPVLSegLib.training.loop import train\n"
        "output, first, second, *settings = sys.argv[1:]\n"
        "train([first, second], None, 'acdc', output, settings, stop_after=2)\n"
    )
    run = [*settings, "steps=4", "validate_every=2", "device=cpu"]
    done = launch(2, str(kill), str(again), *map(str, data), *run, module=False)
    assert done.returncode == 0, done.stderr[-3000:]
    arguments = ["train", "--preset", "acdc", "--data", *map(str, data), "-o", str(again), "--resume"]
    done = launch(2, *arguments, "--set", *run)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses_of(again) == two
    third = load_file(again / "last" / "model.safetensors")
    assert all(torch.equal(second[name], third[name]) for name in second)


def test_a_batch_that_cannot_be_shared_out_is_refused(data: list[Path], settings: list[str], monkeypatch) -> None:
    monkeypatch.setattr(distributed, "count", lambda: 3)
    with pytest.raises(TrainingError, match="batch of 4.*3 processes"):
        a_run(data, settings)


def test_one_process_needs_no_group(monkeypatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with distributed.process_group("cpu") as device:
        assert device == "cpu" and distributed.count() == 1 and not distributed.started()
    rows = torch.arange(3.0)
    assert distributed.gathered(rows) is rows and distributed.gathered_objects("a") == ["a"]
