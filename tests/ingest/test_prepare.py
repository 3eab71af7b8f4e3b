"""What Java keeps of one run: used from the next start on, never in the way, gone when it does not fit any more."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ingest import prepare as module
from ingest.bulk import TOOL_CLASS
from ingest.jars import jar_paths
from ingest.java import java_command, kept_file, kept_folder
from ingest.prepare import prepare
from ingest.server import LocalServer
from ingest.store import GraphStore
from tests.ingest.made_graphs import make_graph
from tests.neo4j_fixture import shared_jars
from tracer.errors import StoreError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="servers are ended by force there")


@pytest.fixture
def jars(tmp_path: Path, neo4j_home: Path) -> Path:
    """A cache of jars of its own, in which nothing is kept yet."""
    folder = tmp_path / "jars"
    folder.mkdir()
    for place in shared_jars().iterdir():
        if place.name != "kept":
            (folder / place.name).symlink_to(place, target_is_directory=True)
    return folder


def kept_in(jars: Path) -> set[Path]:
    return set(kept_folder(jar_paths(jars)).glob("*.aot"))


def test_a_prepared_server_starts_with_what_was_kept(tmp_path, jars, monkeypatch):
    for name, less in {"N_GRAPHS": 2, "N_EDGES": 2_000}.items():
        monkeypatch.setattr(module, name, less)
    server = LocalServer(tmp_path / "neo4j", jars)
    assert not server.status().prepared
    kept_folder(jar_paths(jars)).mkdir()
    (kept_folder(jar_paths(jars)) / "Neo4jCommunity-of_another_java.aot").touch()
    steps = []
    kept = prepare(jars, lambda *step: steps.append(step))
    assert [path.name.partition("-")[0] for path in kept] == ["AdminTool", "Neo4jCommunity"]
    assert kept_in(jars) == set(kept), "what does not fit any more was left"
    assert [done for done, *_ in steps] == list(range(len(steps))) and steps[-1][0] == steps[-1][1]
    try:
        with GraphStore(server.ensure()) as store:
            assert store.add(make_graph(1)) == "ingested"
        status = server.status()
        assert status.prepared and status.pid
        assert f"-XX:AOTCache={kept[1]}" in psutil.Process(status.pid).cmdline()
        if sys.platform == "linux":
            assert str(kept[1]) in {each.path for each in psutil.Process(status.pid).memory_maps()}
        assert "aot" not in (tmp_path / "neo4j" / "logs" / "console.log").read_text().lower()
    finally:
        server.stop()


def test_what_is_kept_belongs_to_the_options_and_the_jars(jars, monkeypatch):
    paths = jar_paths(jars)
    monkeypatch.setenv("THROUGHLINE_JAVA_OPTIONS", "-Xmx2g")
    before = kept_file(paths, TOOL_CLASS)
    assert before == kept_file(paths, TOOL_CLASS)
    monkeypatch.setenv("THROUGHLINE_JAVA_OPTIONS", "-Xmx3g")
    assert len({before, kept_file(paths, TOOL_CLASS), kept_file(paths[1:], TOOL_CLASS)}) == 3


def test_a_damaged_file_is_not_in_the_way(tmp_path, jars):
    kept = kept_file(jar_paths(jars), TOOL_CLASS)
    kept.parent.mkdir()
    kept.write_bytes(b"cut off")
    command = java_command(jar_paths(jars), TOOL_CLASS, "--version")
    assert f"-XX:AOTCache={kept}" in command
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NEO4J_HOME": str(tmp_path)})
    assert done.returncode == 0 and "2026." in done.stdout


@pytest.mark.parametrize("lesson", [None, "nothing that Java wrote"])
def test_what_was_not_learned_is_said_and_nothing_changes(lesson, jars, monkeypatch):
    def learn(graphs, folder, jars):
        if lesson:
            folder.with_suffix(".lesson").write_text(lesson)
        return []

    monkeypatch.setattr(module, "_learn_to_import", learn)
    monkeypatch.setattr(module, "_learn_to_serve", learn)
    kept_folder(jar_paths(jars)).mkdir()
    before = kept_folder(jar_paths(jars)) / "AdminTool-before.aot"
    before.touch()
    with pytest.raises(StoreError, match="Java could not keep" if lesson else "ended by force") as caught:
        prepare(jars)
    assert "\n" not in str(caught.value)
    assert kept_in(jars) == {before}


def test_a_place_that_cannot_be_written_is_named(jars):
    kept_folder(jar_paths(jars)).touch()
    with pytest.raises(StoreError, match=r"kept.*expected a folder of this user's own with room for 1000 MB"):
        prepare(jars)


def test_a_server_that_a_killed_command_left_is_ended(jars, monkeypatch):
    monkeypatch.setattr(module, "_learn_to_import", lambda *_: None)
    monkeypatch.setattr(module, "_learn_to_serve", lambda *_: [])
    left = kept_folder(jar_paths(jars)) / "learning" / "left"
    (left / "server").mkdir(parents=True)
    program = [sys.executable, "-c", "import time; time.sleep(60)", f"--home-dir={left / 'server'}"]
    with subprocess.Popen(program) as process:
        with pytest.raises(StoreError, match="ended by force"):
            prepare(jars)
        process.wait(5)
    assert not left.exists()
