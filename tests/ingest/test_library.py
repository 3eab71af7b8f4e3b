"""The library keeps graphs under their id, and nothing that was kept is lost when something goes wrong."""

import subprocess
import sys

import pytest

from ingest.library import Library, default_library
from tests.ingest.made_graphs import make_graph
from tracer.errors import GraphFormatError
from tracer.graph import METADATA_FILE, NODES_FILE

FILL_UP = """
import resource, sys
from ingest.library import Library
from tests.ingest.made_graphs import make_graph
from tracer.errors import StoreError
library = Library(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # the system refuses longer files, as a full disk would
try:
    library.add(make_graph(2))
except StoreError as error:
    print(error)
"""


def test_a_graph_is_kept_and_found_again(tmp_path):
    library = Library(tmp_path / "library")
    assert library.ids() == []
    graphs = [make_graph(seed) for seed in range(3)]
    for graph in graphs:
        assert library.add(graph) == library.place(graph.graph_id)
    assert library.ids() == sorted(graph.graph_id for graph in graphs)
    again = library.load(graphs[0].graph_id)
    assert again.graph_id == graphs[0].graph_id
    assert again.nodes.equals(graphs[0].nodes)


def test_adding_again_writes_nothing(tmp_path):
    library, graph = Library(tmp_path), make_graph(1)
    library.add(graph)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    library.add(graph)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("root", ["library", "memory://replaced"])
def test_labels_are_replaced_and_the_graph_is_whole_at_every_step(root, tmp_path, monkeypatch):
    library, old, new = Library(root if ":" in root else tmp_path / root), make_graph(1), make_graph(1)
    new.nodes["label"] = "new"
    library.add(old)
    assert library.is_current(old) and not library.is_current(new)
    moved, move = [], library._fs.mv

    def watched(*places):
        move(*places)
        moved.append(library.load(old.graph_id).nodes["label"][0])

    monkeypatch.setattr(library._fs, "mv", watched)
    with library.replaced(new):
        assert not library.is_current(new)
    assert moved == ["Texas"] * 3 + ["new"] * 3  # saved beside it, then three files moved
    assert library.is_current(new)
    assert library.ids() == [old.graph_id] and len(library._fs.ls(library._path)) == 1


def test_what_a_crash_left_is_no_graph_and_is_written_anew(tmp_path):
    library, graph = Library(tmp_path), make_graph(1)
    library.add(graph)
    (tmp_path / graph.graph_id / METADATA_FILE).unlink()  # written last, so this is what a crash leaves
    (tmp_path / graph.graph_id / NODES_FILE).write_bytes(b"half")
    assert graph.graph_id not in library and library.ids() == []
    library.add(graph)
    assert library.load(graph.graph_id).nodes.equals(graph.nodes)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_reported_and_leaves_what_was_kept(tmp_path):
    library, graph = Library(tmp_path), make_graph(1)
    library.add(graph)
    command = [sys.executable, "-c", FILL_UP, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be kept" in said and "THROUGHLINE_LIBRARY" in said
    assert library.ids() == [graph.graph_id] and library.load(graph.graph_id).graph_id == graph.graph_id
    assert [path.name for path in tmp_path.iterdir()] == [graph.graph_id]


def test_remove_takes_one_graph(tmp_path):
    library, one, other = Library(tmp_path), make_graph(1), make_graph(2)
    library.add(one)
    library.add(other)
    assert library.remove(one.graph_id) and not library.remove(one.graph_id)
    assert library.ids() == [other.graph_id]


@pytest.mark.parametrize("name", ["", "..", "../../etc", "0123456789ABCDEF", "0123456789abcdef/..", "x" * 16])
def test_an_id_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(GraphFormatError, match="no graph_id; expected 16 hex digits"):
        Library(tmp_path).place(name)


def test_a_graph_that_is_not_there_is_named(tmp_path):
    with pytest.raises(GraphFormatError, match="0123456789abcdef"):
        Library(tmp_path).load("0123456789abcdef")


def test_a_library_can_be_anywhere_that_fsspec_reaches():
    library, graph = Library("memory://team"), make_graph(1)
    library.add(graph)
    assert library.ids() == [graph.graph_id]
    assert library.load(graph.graph_id).graph_id == graph.graph_id
    assert library.remove(graph.graph_id) and library.ids() == []


def test_the_library_of_a_user_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_HOME", str(tmp_path))
    monkeypatch.delenv("THROUGHLINE_LIBRARY", raising=False)
    assert default_library().root == str(tmp_path / "library")
    monkeypatch.setenv("THROUGHLINE_LIBRARY", "memory://team")
    assert default_library().root == "memory://team"
