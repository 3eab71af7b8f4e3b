"""A trace in a process of its own: how far it is, what it said, an end on request, and its graph kept at the end."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from app.terminal import PROGRESS_AS_JSON
from app.trace_order import TraceOrder
from ingest.load import IngestReport
from tracer.errors import CircuitError

ROOT = Path(__file__).parent.parent
MOST_KEPT = 16  # runs that have ended and can still be looked at
NO_COLOURS = ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
State = Literal["tracing", "loading", "done", "failed", "cancelled"]


class TraceRun:
    """One prompt on its way into the store; goes on when nobody looks, and ends with this process.

    It has a temporary folder of its own, so that runs do not meet and nothing is left of one that fails.
    """

    def __init__(self, order: TraceOrder, keep: Callable[[Path], IngestReport]):
        """Start it.

        Args:
            keep: Puts the graph in this folder into the library and the store.

        Raises:
            CircuitError: The process cannot be started.
        """
        self.id, self.order = uuid.uuid4().hex[:12], order
        self.state: State = "tracing"
        self.progress = (0, 0, "")
        """Done, total, of what; total is 0 before the first."""
        self.said: list[str] = []
        """Lines of its output, the last one the reason where it failed."""
        self.report: IngestReport | None = None
        """What became of the graph."""
        self._began, self._ended = time.monotonic(), 0.0
        self._keep, self._cancelled = keep, False
        self._folder = tempfile.TemporaryDirectory(prefix="throughline-trace-", ignore_cleanup_errors=True)
        self._out = Path(self._folder.name) / "graph"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "app.cli", *order.arguments(self._out)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment(),
                encoding="utf-8", errors="replace",
            )  # fmt: skip
        except (OSError, ValueError) as error:
            self._folder.cleanup()
            raise CircuitError(
                f"the tracer cannot be started ({error}); expected a prompt and settings that fit on a command line. "
                "Use `throughline trace --file` for a very long prompt."
            ) from None
        self._thread = threading.Thread(target=self._work, name=f"trace {self.id}", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """How long it took, or has been going."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def error(self) -> str:
        """Why it failed, as a sentence."""
        return self.said[-1] if self.state == "failed" else ""

    def cancel(self) -> None:
        """End it now; what it wrote is deleted. A graph that is being loaded into the store is loaded to its end."""
        self._cancelled = True
        self._process.kill()

    def wait(self, limit_s: float) -> State:
        """Wait until it is over, or for so long."""
        self._thread.join(limit_s)
        return self.state

    def _work(self) -> None:
        try:
            self._listen()
            code = self._process.wait()
            if self._cancelled:
                state: State = "cancelled"
            elif code:
                state = self._failed(code)
            else:
                self.state = "loading"
                state = self._load()
        except Exception as error:  # a thread has nobody to raise to, and the page would wait for ever
            self.said.append(f"the trace was lost: {error}")
            state = "failed"
        self._folder.cleanup()
        self._ended = time.monotonic()
        self.state = state

    def _listen(self) -> None:
        """Take in what the process says, until it says no more."""
        assert self._process.stderr
        for line in self._process.stderr:
            try:
                told = json.loads(line)
                self.progress = (told["done"], told["total"], told["what"])
            except (ValueError, KeyError, TypeError):
                if line.strip():
                    self.said.append(line.rstrip())

    def _failed(self, code: int) -> State:
        if code < 0:  # by a signal
            self.said.append(
                "the tracer was ended by the system, most likely because memory ran out; expected it to fit. Lower "
                "max_feature_nodes or batch_size, or take offload: disk."
            )
        elif not self.said:
            self.said.append(f"the tracer ended with exit code {code} and said nothing; run the command line below.")
        return "failed"

    def _load(self) -> State:
        self.report = self._keep(self._out)
        if self.report.status != "refused":
            return "done"
        self.said.append(self.report.reason)
        return "failed"


RUNS: dict[str, TraceRun] = {}  # of this process, so that a page that is loaded again finds its run


def start(order: TraceOrder, keep: Callable[[Path], IngestReport]) -> TraceRun:
    """Start a run that can be found by its id; the oldest ones that are over are forgotten."""
    run = TraceRun(order, keep)
    RUNS[run.id] = run
    over = [each.id for each in list(RUNS.values()) if each.is_over]
    for run_id in over[: max(0, len(over) - MOST_KEPT)]:
        RUNS.pop(run_id, None)
    return run


@atexit.register
def _end_all() -> None:
    for run in list(RUNS.values()):
        if not run.is_over:
            run.cancel()
            run.wait(5)


def _environment() -> dict[str, str]:
    """That of this process, with our own modules found first and output that a program can read."""
    environment = {name: value for name, value in os.environ.items() if name not in NO_COLOURS}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return environment | {"PYTHONPATH": path, "PYTHONUTF8": "1", "NO_COLOR": "1", PROGRESS_AS_JSON: "1"}
