"""What an application relies on that sends its segmentations to ``python -m BiPVLSegLib serve``."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.inference.segmenter import Segmenter
from BiPVLSegLib.worker import server as server_module
from BiPVLSegLib.worker.job import Job, read_answer, write_job

REPOSITORY = Path(__file__).resolve().parents[2]
PREPROCESSING = {
    "spacing": [1.5, 1.5, 8.0],
    "patch_size": [32, 32, 16],
    "intensity": {"mode": "zscore"},
    "modality": "MR",
    "overlap": 0.5,
}
HEART = cine_phantom(seed=3, shape=(64, 64, 8))
TABLE = load_concepts("cine-mr")


class Worker:
    """A running worker, read line by line."""

    def __init__(self, *options: str, prefix: str = "", command: str = "-m BiPVLSegLib serve"):
        line = f'{prefix} exec "{sys.executable}" {command} {" ".join(options)}'
        self.process = subprocess.Popen(
            ["sh", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        )
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.errors: list[bytes] = []
        self.threads = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)]
        for thread in self.threads:
            thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def _read_errors(self):
        self.errors.extend(self.process.stderr)

    def send(self, data: bytes) -> None:
        self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()

    def next(self, seconds: float = 120) -> dict | None:
        """The next event; None at the end of stdout. Whatever comes on stdout must be an event."""
        line = self.lines.get(timeout=seconds)
        return json.loads(line) if line else None

    def until(self, *names: str) -> list[dict]:
        events = []
        while not events or events[-1]["event"] not in names:
            event = self.next()
            assert event is not None, b"".join(self.errors).decode()
            events.append(event)
        return events

    def job(self, folder: Path, identifier: str = "1") -> list[dict]:
        self.send(json.dumps({"command": "segment", "id": identifier, "folder": str(folder)}).encode())
        return self.until("done", "error")

    def end(self) -> int:
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(20)
        for thread in self.threads:
            thread.join()
        return code


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("Modelle für Ärzte 模型") / "tiny"
    network = tiny_models.tiny_model(preprocessing=PREPROCESSING, concepts="cine-mr")
    torch.nn.init.normal_(network.head.classifier[-1].weight, std=3)  # so that untrained classes win somewhere
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    assert worker.next()["event"] == "ready"
    yield worker
    worker.send(b'{"command": "quit"}')
    assert worker.end() == 0


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "Zwischenablage für Ärzte 文件夹"
    folder.mkdir()
    return folder


def a_job(model: Path, **changes) -> Job:
    return Job(**{"name": "Herz 心", "affine": HEART.affine, "concepts": TABLE, "model": str(model), **changes})


def put(folder: Path, job: Job, voxels=HEART.image) -> Path:
    write_job(folder, job, voxels)
    return folder


def names(events: list[dict]) -> list[str]:
    return [event["event"] for event in events]


def test_ready_tells_version_and_pid():
    worker = Worker()
    ready = worker.next()
    worker.send(b'{"command": "quit"}')
    assert worker.end() == 0
    assert ready["event"] == "ready" and ready["pid"] == worker.process.pid and ready["version"]
    assert worker.next() is None


def test_answer_is_that_of_the_library(worker, folder, model):
    events = worker.job(put(folder, a_job(model, probabilities=True)), "first")
    assert {event["id"] for event in events} == {"first"}
    stages = [event["stage"] for event in events if event["event"] == "progress"]
    assert stages[:2] == ["reading", "preparing"] and stages[-1] == "finishing"
    windows = [event for event in events if event.get("stage") == "segmenting"]
    assert [event["done"] for event in windows] == list(range(1, windows[-1]["total"] + 1))
    assert windows[-1]["seconds_left"] == 0
    assert events[-1]["event"] == "done" and events[-1]["seconds"] > 0

    answer = read_answer(folder)
    expected = Segmenter(model).segment((HEART.image, HEART.affine), TABLE, probabilities=True)
    assert expected.labelmap.any()
    assert np.array_equal(answer.result.labelmap, expected.labelmap)
    assert np.array_equal(answer.result.affine, HEART.affine)
    assert answer.result.concepts == TABLE and answer.result.confidence == expected.confidence
    assert np.array_equal(answer.result.probabilities, expected.probabilities)
    assert isinstance(answer.result.probabilities, np.memmap)
    assert answer.result.labelmap.flags.f_contiguous and answer.result.info["source"] == "Herz 心"
    for name in TABLE.names:
        mask = expected.mask(name)
        mean = answer.mean_intensity[name]
        assert mean == pytest.approx(HEART.image[mask].mean()) if mask.any() else mean is None


def test_model_is_loaded_once_and_again_when_it_must(worker, folder, model, tmp_path):
    """The same job again costs no load; other texts neither; another precision or changed files do."""
    own = shutil.copytree(model, tmp_path / "own")
    put(folder, a_job(own))
    first, second = worker.job(folder), worker.job(folder)
    assert names(first).count("loading") == 1 and first[-1]["loaded_model"] is True
    assert "loading" not in names(second) and second[-1]["loaded_model"] is False
    edited = worker.job(put(folder, a_job(own, concepts=TABLE.replace(TABLE.names[0], shape="A flat disc."))))
    assert "loading" not in names(edited)
    assert read_answer(folder).result.concepts != TABLE

    os.utime(own / "config.json", ns=(1, 1))
    assert "loading" in names(worker.job(put(folder, a_job(own))))
    assert "loading" in names(worker.job(put(folder, a_job(own, precision="bf16"))))
    shutil.rmtree(own)
    gone = worker.job(put(folder, a_job(own, precision="bf16")))[-1]
    assert gone["event"] == "error" and gone["kind"] == "input" and str(own) in gone["message"]


def test_edited_texts_change_the_result_of_a_warm_worker(worker, folder, model):
    worker.job(put(folder, a_job(model, probabilities=True)))
    before = np.array(read_answer(folder).result.probabilities)
    edited = TABLE.replace(TABLE.names[0], shape="A flat disc.", texture="Grainy.")
    assert worker.job(put(folder, a_job(model, concepts=edited, probabilities=True)))[-1]["loaded_model"] is False
    assert not np.allclose(before, read_answer(folder).result.probabilities, atol=1e-6)


def test_own_texts_region_and_flips_arrive(worker, folder, model):
    to_box = np.linalg.inv(HEART.affine @ np.array([[16, 0, 0, 16], [0, 32, 0, 31.5], [0, 0, 9, 3.5], [0, 0, 0, 1]]))
    assert worker.job(put(folder, a_job(model, concepts=None, region=to_box, flips=True)))[-1]["event"] == "done"
    result = read_answer(folder).result
    assert result.concepts.names == TABLE.names
    assert not result.labelmap[33:].any() and np.allclose(result.info["region"], to_box)
    assert any("mirrored" in note for note in result.info["notes"])


def test_notes_come_as_events_once(worker, folder, model):
    voxels = np.where(HEART.labels > 0, HEART.image, -1000).astype(np.int16)
    notes = [e["message"] for e in worker.job(put(folder, a_job(model), voxels)) if e["event"] == "note"]
    assert len([note for note in notes if "looks like CT" in note]) == 1
    assert len(notes) == len(set(notes))


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"hello",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"command": "dance", "id": 5}',
        b'{"command": "segment", "id": 5}',
        b"{" * 5000,
        b"[" * 100000,
    ],
    ids=["empty", "text", "bytes", "list", "unknown", "no folder", "braces", "too deep"],
)
def test_garbage_is_answered_and_forgotten(worker, request_line):
    worker.send(request_line)
    if request_line:
        event = worker.next()
        assert event["event"] == "error" and event["kind"] == "input" and "understand" in event["message"]
    worker.send(b'{"command": "segment", "id": "x", "folder": "/no/such/folder"}')
    event = worker.next()
    assert event["id"] == "x" and event["kind"] == "input" and "no job.json" in event["message"]


def test_what_is_wrong_with_the_volume_or_the_texts_is_a_sentence(worker, folder, model):
    cases = [
        (a_job(model), np.zeros((32, 32, 8), np.int16), "Herz 心"),
        (a_job(model, affine=np.diag([1.0, 1, 0, 1])), HEART.image, "Herz 心"),
        (a_job(model, region=np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 9999), HEART.image, "region"),
        (a_job(model, device="cuda:99"), HEART.image, "cuda:99"),
        (a_job(folder), HEART.image, "config.json"),
    ]
    for job, voxels, word in cases:
        event = worker.job(put(folder, job, voxels))[-1]
        assert event["kind"] == "input" and word in event["message"], event
    assert worker.job(put(folder, a_job(model)))[-1]["event"] == "done"


def test_full_disk_names_folder_and_size_and_a_dead_parent_ends_a_run(folder, model):
    """A real write that fails, by the limit on the size of files. Then stdin ends in the middle of a run."""
    put(folder, a_job(model, probabilities=True))
    worker = Worker(prefix="ulimit -f 64;")  # 64 blocks: less than the probabilities take
    event = worker.job(folder)[-1]
    assert event["kind"] == "disk" and str(folder) in event["message"] and "416 KB" in event["message"]
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", "volume.npy"]

    put(folder, a_job(model), np.tile(HEART.image, (6, 6, 1))[:380, :380])
    worker.send(json.dumps({"command": "segment", "id": "2", "folder": str(folder)}).encode())
    while (event := worker.next()).get("stage") != "segmenting":
        pass
    assert event["total"] > 100
    started = time.monotonic()
    worker.process.stdin.close()
    worker.process.wait(20)
    assert time.monotonic() - started < 1
    last = event
    while (event := worker.next()) is not None:
        last = event
    assert last["event"] == "progress" and last["done"] < last["total"]
    assert worker.end() == 0


def test_idle_worker_leaves_by_itself():
    started = time.monotonic()
    worker = Worker("--idle-minutes", "0.01")
    assert worker.next()["event"] == "ready"
    assert worker.process.wait(20) == 0
    assert time.monotonic() - started > 0.6
    worker.end()


def test_nothing_but_events_reaches_stdout(tmp_path):
    """Neither what libraries print nor what child processes or C code write; and they find no requests on stdin."""
    script = tmp_path / "chatter.py"
    script.write_text(
        "import os, sys, subprocess\n"
        "from BiPVLSegLib.worker.channel import Channel\n"
        "channel = Channel()\n"
        "print('from print', flush=True)\n"
        "os.write(1, b'from C\\n')\n"
        "subprocess.run(['sh', '-c', 'echo from a child; cat'])\n"
        "channel.emit('ready')\n"
        "channel.emit('got', line=channel.next_request(20).decode())\n"
        "channel.leave()\n"
    )
    worker = Worker(command=str(script), prefix=f'PYTHONPATH="{REPOSITORY}"')
    worker.send(b"a request")
    assert worker.until("got") == [{"event": "ready"}, {"event": "got", "line": "a request"}]
    assert worker.end() == 0
    assert worker.errors == [b"from print\n", b"from C\n", b"from a child\n"]


class Recorder:
    """A channel that remembers."""

    def __init__(self, *requests: dict):
        self.requests = [json.dumps(request).encode() for request in requests]
        self.events: list[dict] = []

    def next_request(self, seconds):
        return self.requests.pop(0) if self.requests else None

    def emit(self, event, **values):
        self.events.append({"event": event, **values})


def itself(error: Exception) -> Exception:
    return inside(error, error)


def inside(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "memory"),
        (inside(RuntimeError("applying transform"), RuntimeError("can't allocate memory")), "memory"),
        (inside(ZeroDivisionError("division by zero"), ValueError("x")), "internal"),
        (itself(ZeroDivisionError("division by zero")), "internal"),
    ],
    ids=["python", "gpu", "torch", "monai", "bug", "its own cause"],
)
def test_failures_have_a_kind_and_the_next_job_runs(folder, model, monkeypatch, capsys, error, kind):
    put(folder, a_job(model))
    channel = Recorder(*[{"command": "segment", "id": n, "folder": str(folder)} for n in (1, 2)])
    statistics = server_module.mean_intensities
    failures = [error]

    def fail_once(*arguments):
        if failures:
            raise failures.pop()
        return statistics(*arguments)

    monkeypatch.setattr(server_module, "mean_intensities", fail_once)
    server_module.Server(channel).run()
    first = next(event for event in channel.events if event["event"] == "error")
    assert first["id"] == 1 and first["kind"] == kind
    assert ("memory" in first["message"]) == (kind == "memory")
    assert ("ZeroDivisionError: division by zero" in capsys.readouterr().err) == (kind == "internal")
    assert channel.events[-1]["event"] == "done" and channel.events[-1]["id"] == 2


def test_volume_that_does_not_fit_is_a_matter_of_memory(folder, model, monkeypatch):
    from BiPVLSegLib.inference import segmenter

    monkeypatch.setattr(segmenter, "available_memory", lambda: 2**20)
    channel = Recorder({"command": "segment", "id": 1, "folder": str(put(folder, a_job(model)))})
    server_module.Server(channel).run()
    assert channel.events[-1]["kind"] == "memory" and "GiB" in channel.events[-1]["message"]


def test_broken_gpu_ends_the_worker(folder, model, monkeypatch):
    """After such an error CUDA works no more in the same process; the application starts a fresh one."""

    def fail(*arguments):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(server_module, "mean_intensities", fail)
    channel = Recorder(*[{"command": "segment", "id": n, "folder": str(put(folder, a_job(model)))} for n in (1, 2)])
    server_module.Server(channel).run()
    assert channel.events[-1]["id"] == 1 and channel.events[-1]["kind"] == "internal"
    assert len(channel.requests) == 1


def test_full_disk_is_known_before_the_run(folder, model, monkeypatch):
    from BiPVLSegLib.worker import arrays

    put(folder, a_job(model))
    monkeypatch.setattr(arrays.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    channel = Recorder({"command": "segment", "id": 1, "folder": str(folder)})
    server_module.Server(channel).run()
    assert names(channel.events) == ["ready", "loading", "error"]
    assert channel.events[-1]["kind"] == "disk" and "1000 bytes are free" in channel.events[-1]["message"]
