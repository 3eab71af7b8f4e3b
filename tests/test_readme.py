"""README.md tells the truth: its commands run as printed, and their output is what it shows."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.store import open_store
from tests.neo4j_fixture import clear

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE_BLOCKS = re.findall(r"```console\n(.*?)```", README, flags=re.S)
NOT_RUN = ("make test", "make app", "git clone", "throughline app")  # this very run; pages that stay open; a network
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def commands_with_output() -> list[tuple[str, str]]:
    found = []
    for block in CONSOLE_BLOCKS:
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            if not command.startswith(NOT_RUN):
                found.append((command, output.strip("\n")))
    return found


def as_run(command: str) -> list[str]:
    """The words that run a README command inside this environment."""
    words = shlex.split(command)
    if words[0] == "make":  # what the Makefile runs for it
        words = ["throughline", *words[1:]]
    assert words[0] == "throughline", f"README shows {command!r}, and this test does not know how to run it"
    return [sys.executable, "-m", "app.cli", *words[1:]]


def without_times(text: str) -> str:
    return re.sub(r"\d+(\.\d+)? (s|ms)\b", "# s", text)


def numbers_agree(shown: str, seen: str) -> bool:
    """Equal but for rounding: another processor may add in another order."""
    a, b = (float(text.replace(",", "")) for text in (shown, seen))
    return a == pytest.approx(b, rel=0.03, abs=0.0015)


@pytest.fixture(scope="module")
def empty_store(neo4j_home):
    """The README starts from nothing; its later commands ask what its first one stored."""
    with open_store() as store:
        clear(store)


@pytest.fixture(scope="module")
def own_graphs(tmp_path_factory):
    """Takes the place of the folder `graphs`, which may hold what is dear to someone."""
    return tmp_path_factory.mktemp("graphs")


@pytest.mark.parametrize(("command", "expected"), commands_with_output(), ids=lambda value: value[:40])
def test_a_command_of_the_readme_prints_what_the_readme_shows(command, expected, empty_store, own_graphs):
    done = subprocess.run(
        [word.replace("graphs/", f"{own_graphs}/") for word in as_run(command)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.replace(f"{own_graphs}/", "graphs/")
    shown = [without_times(line).rstrip() for line in expected.splitlines()]
    seen = [without_times(line).rstrip() for line in printed.strip("\n").splitlines()]
    if "..." in shown:  # README leaves out the rest
        cut = shown.index("...")
        shown, seen = shown[:cut], seen[:cut]
    assert [NUMBER.sub("#", line) for line in seen] == [NUMBER.sub("#", line) for line in shown]
    pairs = zip(NUMBER.findall("\n".join(shown)), NUMBER.findall("\n".join(seen)), strict=True)
    assert all(numbers_agree(a, b) for a, b in pairs)


def test_the_first_screen_shows_the_two_commands():
    assert {"make demo", "make test"} <= set(re.findall(r"^\$ (make \w+)", "\n".join(CONSOLE_BLOCKS), flags=re.M))


def test_files_that_the_readme_links_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_is_in_the_readme():
    from app.cli import cli

    names = {name for name in cli if not name.startswith("-")}
    assert names, "the command line has no commands"
    assert {name for name in names if f"throughline {name}" not in README} == set()
