"""A program on a leash does not outlive the one that started it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ingest import leash

PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)
time.sleep(600)
"""
PROGRAM = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_program_ends_when_the_one_that_started_it_is_killed(tmp_path):
    note = tmp_path / "pid"
    command = [sys.executable, "-c", PARENT, leash.__file__, sys.executable, "-c", PROGRAM, str(note)]
    parent = subprocess.Popen(command)
    assert happens(lambda: note.exists() and note.read_text())
    program = psutil.Process(int(note.read_text()))
    assert program.is_running()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert happens(lambda: has_ended(program))


def test_the_status_of_the_program_is_told():
    command = [sys.executable, leash.__file__, sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as held:
        assert held.wait() == 3


def has_ended(program: psutil.Process) -> bool:
    try:
        return program.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def happens(condition) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())
