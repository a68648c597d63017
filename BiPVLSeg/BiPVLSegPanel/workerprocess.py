"""The worker process as the panel sees it: started, sent requests, asked for events, ended. Nothing here ever waits."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

CLOSE_SECONDS = 2.0  # what a worker gets to leave by itself
DRAIN_SECONDS = 2.0  # how long output may still come after the end of the process
LONGEST_LINE = 2**20
MOST_LOG_LINES = 5000  # that may wait to be fetched; a worker that prints without end must not fill the memory


class WorkerProcess:
    """A process that speaks lines of JSON.

    Example::

        worker = WorkerProcess(workerCommand(10), workerFolder(), workerEnvironment())
        worker.start()
        worker.send({"command": "segment", "id": "1", "folder": folder})
        ...                                    # in a timer:
        for event in worker.events():
            print(event["event"])              # "ready", "progress", ..., "log", at last "exit"
    """

    def __init__(self, command, cwd, environment):
        self._command = [str(part) for part in command]
        self._folder = str(cwd)
        self._environment = dict(environment)
        self._process = None
        self._events = queue.SimpleQueue()
        self._requests = queue.SimpleQueue()

    def start(self):
        """Starts the process. Raises OSError where the program cannot be run."""
        # A process group of its own, so that kill() reaches what the process starts: PythonSlicer may be a mere launcher.
        if os.name == "nt":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        else:
            options = {"start_new_session": True}
        environment = {**self._environment, "BIPVLSEG_OWN_PROCESS_GROUP": "1"}
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        readers = [
            self._inThread(self._readEvents, self._process.stdout),
            self._inThread(self._readLog, self._process.stderr),
        ]
        self._inThread(self._write)
        self._inThread(self._waitForEnd, readers)

    @property
    def alive(self):
        """Whether the process runs. Events may still wait after its end."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        """Of the process that was started, or None before that."""
        return None if self._process is None else self._process.pid

    def send(self, request):
        """Sends a request. To a process that has ended it is lost, and events() tells of the end."""
        self._requests.put(json.dumps(request).encode("ascii") + b"\n")

    def events(self):
        """What has come since the last call, oldest first; the last of all is {"event": "exit", "code": n}."""
        events = []
        while True:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                return events

    def kill(self):
        """Ends the process and all that it has started, at once."""
        if self.alive:
            self._killTree()

    def close(self):
        """Asks the process to leave; in two seconds it is killed if it has not. Returns at once."""
        if not self.alive:
            return
        self.send({"command": "quit"})
        self._requests.put(None)
        timer = threading.Timer(CLOSE_SECONDS, self.kill)
        timer.daemon = True
        timer.start()

    # ---- threads -------------------------------------------------------------------------------------------------

    @staticmethod
    def _inThread(function, *arguments):
        thread = threading.Thread(target=function, args=arguments, name="BiPVLSeg worker", daemon=True)
        thread.start()
        return thread

    def _readEvents(self, stream):
        for line in _textLines(stream):
            event = _eventFrom(line)
            if event is None:
                self._log(line)
            else:
                self._events.put(event)

    def _readLog(self, stream):
        for line in _textLines(stream):
            self._log(line)

    def _log(self, line):
        if self._events.qsize() < MOST_LOG_LINES:
            self._events.put({"event": "log", "line": line})

    def _write(self):
        stream = self._process.stdin
        try:
            with stream:
                while (request := self._requests.get()) is not None:
                    stream.write(request)
                    stream.flush()
        except OSError:
            return  # the process has ended; _waitForEnd tells so

    def _waitForEnd(self, readers):
        code = self._process.wait()
        self._killGroup()  # a launcher may have died before what it launched
        self._requests.put(None)
        for reader in readers:
            reader.join(DRAIN_SECONDS)
        self._events.put({"event": "exit", "code": code})

    # ---- ending --------------------------------------------------------------------------------------------------

    def _killTree(self):
        if os.name == "nt":
            self._inThread(self._taskkill)
        else:
            self._killGroup()

    def _killGroup(self):
        if os.name == "nt":
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody is left; macOS reports a group of zombies as not permitted

    def _taskkill(self):
        taskkill = os.path.join(os.environ.get("SystemRoot", r"C:\Windows"), "System32", "taskkill.exe")
        try:
            subprocess.run(
                [taskkill, "/T", "/F", "/PID", str(self._process.pid)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                creationflags=subprocess.CREATE_NO_WINDOW,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._log(f"taskkill: {error}")
        self._process.kill()  # does nothing to a process that is gone


def slicerPythonCommand():
    """The Python of this application as the start of a command.

    PythonSlicer lies on the PATH of Slicer. It is a launcher that sets up an environment, which this process has already,
    and on Windows it was seen not to hand on stdin: so the interpreter beside it is taken where there is one.

    Raises InputError where there is none.
    """
    launcher = shutil.which("PythonSlicer")
    if launcher:
        interpreter = shutil.which("python-real", path=os.path.dirname(launcher))
        return [interpreter or launcher]
    if sys.executable and os.path.basename(sys.executable).lower().startswith("python"):
        return [sys.executable]
    from slicer.i18n import tr as _

    from BiPVLSegLib.errors import InputError

    raise InputError(_("The Python program of 3D Slicer (PythonSlicer) was not found; install 3D Slicer again."))


def workerCommand(idleMinutes):
    """The command line of the worker, which ends by itself after so many minutes without a job (0: never)."""
    return [*slicerPythonCommand(), "-m", "BiPVLSegLib", "serve", "--idle-minutes", str(idleMinutes)]


def workerFolder():
    """The folder that the worker is started in: the one that holds BiPVLSegLib, so that Python finds it."""
    import BiPVLSegLib

    return Path(BiPVLSegLib.__file__).resolve().parents[1]


def workerEnvironment():
    """This process's environment, with UTF-8 everywhere and no access to any server."""
    environment = dict(os.environ)
    environment.pop("PYTHONSAFEPATH", None)  # it would keep Python from looking into the worker's folder
    environment.update(
        PYTHONUTF8="1",
        PYTHONUNBUFFERED="1",
        PYTORCH_ENABLE_MPS_FALLBACK="1",  # what a Mac's GPU cannot do its processor does
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
    )
    return environment


def _textLines(stream):
    """Lines without their ends, decoded come what may; of a progress bar drawn over itself only its last state."""
    with stream:
        for raw in iter(lambda: stream.readline(LONGEST_LINE), b""):
            line = raw.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
            if line.strip():
                yield line


def _eventFrom(line):
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(event, dict) and isinstance(event.get("event"), str) and event["event"] not in ("exit", "log"):
        return event
    return None
