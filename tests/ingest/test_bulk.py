"""A first load by the import tool gives the database that graphs stored one by one give, or leaves all as it was."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from ingest import bulk
from ingest.bulk import bring
from ingest.keep import rebuild, verify
from ingest.library import Library
from ingest.load import ingest_paths, keep_graph
from ingest.server import LocalServer
from ingest.store import GraphStore
from tests.ingest.made_graphs import make_graph
from tests.ingest.test_crash import N_KILLS
from tests.ingest.test_store import check_aggregates
from tests.neo4j_fixture import shared_jars
from tracer.errors import StoreError
from tracer.graph import EDGES_FILE, AttributionGraph

STRANGE = [
    "x" * 100_000,
    'a "b", c;d',
    "two\r\nlines\n",
    "<b>\u202eab\0c</b>",
    "\\",
    "",
    " ",
    "🧭\u2028\x85\t",
    '""',
    "'",
]
ALL_NODES = "MATCH (n) WHERE NOT n:Meta RETURN labels(n) AS labels, properties(n) AS properties"
ALL_EDGES = """
MATCH (a)-[r]->(b)
RETURN type(r) AS type, properties(r) AS properties,
       [a.graph_id, a.node_id, a.source_set, a.layer, a.index] AS source,
       [b.graph_id, b.node_id, b.source_set, b.layer, b.index] AS target
"""
KILLED = {
    "while the tool works": "ingest.bulk.BEAT_S = 3600",
    "while the new database is looked at": "ingest.bulk._complete = lambda *_: time.sleep(3600)",
}
ONLY_CRASH = pytest.mark.skipif(N_KILLS <= 8, reason="starts a server three times: by `make crash`")
WORK = """
import sys, time
import ingest.bulk
from ingest.library import Library
from ingest.server import LocalServer
from ingest.store import GraphStore

ingest.bulk.BULK_FROM = 1
{}
library = Library(sys.argv[2])
with GraphStore(LocalServer(sys.argv[1]).ensure()) as store:
    list(ingest.bulk.bring(library.ids(), store, library))
"""


def strange_graph(seed: int, source_set: str = "set") -> AttributionGraph:
    graph = make_graph(seed, source_set=source_set, prompt=STRANGE[1] + STRANGE[2])
    labels = [STRANGE[(seed + at) % len(STRANGE)] for at in range(len(graph.nodes))]
    group = {"label": STRANGE[1], "members": graph.nodes["node_id"].tolist()[: 2 + seed]}
    about = replace(graph.metadata, tokens=(";", '"', "a,b", "\n"), provenance={"supernodes": [group]})
    return AttributionGraph(graph.nodes.assign(label=labels), graph.edges, about)


def fails(reason: str):
    """Something that cannot be done."""

    def fail(*_: object) -> None:
        raise StoreError(reason)

    return fail


def content(store: GraphStore) -> tuple[Counter[str], Counter[str]]:
    """Every node and every relationship, to the letter, but for the time at which it came."""
    nodes = store.cypher(ALL_NODES, max_rows=100_000).records
    for row in nodes:
        row["properties"].pop("ingested_at", None)
        row["labels"].sort()
    edges = store.cypher(ALL_EDGES, max_rows=100_000).records
    sides = [[{**row, "properties": sorted(row["properties"].items())} for row in rows] for rows in (nodes, edges)]
    return Counter(map(repr, sides[0])), Counter(map(repr, sides[1]))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of its own: what is exchanged here is the whole database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHLINE_JARS", str(shared_jars()))
        server = LocalServer(tmp_path_factory.mktemp("bulk") / "neo4j")
        yield server
        server.stop()


@pytest.fixture
def library(tmp_path) -> Library:
    """Six graphs of two dictionaries, which are in no database yet."""
    library = Library(tmp_path / "library")
    for graph in [strange_graph(seed, "ab"[seed % 2]) for seed in range(5)] + [make_graph(9)]:
        library.add(graph)
    return library


@pytest.fixture
def own(server):
    """The store of that server, empty."""
    with GraphStore(server.ensure()) as opened:
        for row in opened.graphs():
            opened.remove(row["graph_id"])
        yield opened


def test_a_rebuild_by_import_gives_what_storing_one_by_one_gave(own, library, monkeypatch, caplog):
    assert list(bring(library.ids(), own, library)) == []  # too few edges for an import
    before, port = content(own), own.connection.uri
    meta = own.cypher("MATCH (m:Meta) RETURN properties(m) AS meta").records[0]["meta"]
    told = []
    monkeypatch.setattr(bulk, "BULK_FROM", 1)
    assert list(rebuild(own, library, lambda *step: told.append(step))) == []
    assert (80, 80, "importing") in told and not caplog.records
    assert content(own) == before and own.connection.uri == port
    assert list(verify(own, library)) == []
    seen = own.cypher("MATCH (m:Meta) RETURN properties(m) AS meta").records[0]["meta"]
    assert {name: seen[name] for name in ("version", "digest")} == {name: meta[name] for name in ("version", "digest")}
    assert own.is_current() and seen.keys() == meta.keys()
    assert own.schema_counts()["Supernode"] == 5
    graphs = [library.load(graph_id) for graph_id in library.ids()]
    own.remove(graphs[0].graph_id)  # the database goes on as any other
    own.add(extra := make_graph(10))
    check_aggregates(own, [*graphs[1:], extra])
    folder = own.connection.folder
    assert {path.name for path in folder.iterdir()} & {"data.before", "data.gone"} == set()
    assert [path.name for path in (folder / "import").iterdir()] == ["one.lock"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "when",
    ["while the tool works", pytest.param("while the new database is looked at", marks=ONLY_CRASH)],
)
def test_killed_in_the_middle_the_store_is_what_it_was_and_can_be_filled(when, own, library, server):
    own.close()
    command = [sys.executable, "-c", WORK.format(KILLED[when]), str(server.folder), library.root]
    client = subprocess.Popen(command)
    mark = "import/*/said.txt" if when == "while the tool works" else "data/databases/neo4j/neostore"
    deadline = time.monotonic() + 120
    while not (list(server.folder.glob(mark)) and ("tool" in when or (server.folder / "data.before").exists())):
        assert client.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    with GraphStore(server.ensure()) as store:
        assert store.is_empty() and not (server.folder / "data.before").exists()
        assert store.add(make_graph(9)) == "ingested" and store.remove(make_graph(9).graph_id)
        with bulk.workplace(server.folder / "import") as place:  # whoever imports next finds none of it
            assert list((server.folder / "import").glob("*/")) == [place]


@ONLY_CRASH
def test_an_exchange_that_fails_brings_the_graphs_back(own, server, tmp_path):
    own.add(graph := make_graph(11))
    before = content(own)
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match="no good"), server.exchanged(tmp_path / "data") as connection:
        with GraphStore(connection) as other:
            assert other.is_empty()
        raise ValueError("no good")
    own.reopen(server.ensure())
    assert own.has(graph.graph_id) and content(own) == before


def test_a_start_after_a_crash_in_an_exchange_goes_on_with_what_was_there(tmp_path, monkeypatch):
    server = LocalServer(tmp_path, tmp_path / "jars")
    (tmp_path / "data" / "half").mkdir(parents=True)
    (tmp_path / "data.before" / "whole").mkdir(parents=True)
    monkeypatch.setattr(server, "_start", fails("far enough"))
    with pytest.raises(StoreError, match="far enough"):
        server.ensure()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["whole"]
    assert not (tmp_path / "data.before").exists()


def test_while_others_are_connected_graphs_are_stored_one_by_one_and_this_is_said(own, library, monkeypatch, caplog):
    monkeypatch.setattr(bulk, "BULK_FROM", 1)
    monkeypatch.setattr(bulk, "run_tool", lambda *_: pytest.fail("it should not be tried"))
    with GraphStore(own.connection) as page:
        assert list(bring(library.ids(), own, library)) == []
        assert len(page.graphs()) == 6
    assert "stored one by one" in caplog.text and "connections of others are open" in caplog.text
    assert list(verify(own, library)) == []


def test_an_import_that_cannot_be_run_is_said_and_graphs_are_stored_one_by_one(own, library, monkeypatch, caplog):
    monkeypatch.setattr(bulk, "BULK_FROM", 1)
    monkeypatch.setattr(bulk, "TOOL_CLASS", "org.example.Nothing")
    assert list(bring(library.ids(), own, library)) == []
    assert "the import tool of Neo4j failed" in caplog.text and "org.example.Nothing" in caplog.text
    assert list(verify(own, library)) == []


def test_an_import_that_is_not_what_it_should_be_is_undone(own, tmp_path):
    files = bulk.ImportFiles(tmp_path)
    files.counts = {"Node": 5}
    with pytest.raises(StoreError, match="the import made 0 of Node, expected 5"):
        bulk._complete(GraphStore(own.connection), files, {})


def test_files_into_an_empty_store_are_read_first_and_reported_as_otherwise(own, library, tmp_path, monkeypatch):
    shutil.copytree(library.root, tmp_path / "in")
    broken = tmp_path / "in" / library.ids()[0] / EDGES_FILE
    broken.write_bytes(b"no table")
    fresh = Library(tmp_path / "fresh")
    monkeypatch.setattr("ingest.load.WORTH_WAITING", 1)
    first = list(ingest_paths([tmp_path / "in"], own, fresh))
    assert sorted(report.status for report in first) == ["ingested"] * 5 + ["refused"]
    assert len(own.graphs()) == 5 and list(verify(own, fresh)) == []
    again = {report.status for report in ingest_paths([tmp_path / "in"], own, fresh)}
    assert again == {"unchanged", "refused"}


def test_a_graph_that_is_kept_but_cannot_be_stored_is_refused(own, tmp_path, monkeypatch):
    graph = make_graph(12)
    graph.save(str(tmp_path / "in" / "one"))
    monkeypatch.setattr("ingest.load.WORTH_WAITING", 1)
    monkeypatch.setattr(own, "add", fails("no room"))
    (report,) = ingest_paths([tmp_path / "in"], own, Library(tmp_path / "library"))
    assert (report.status, report.reason) == ("refused", "no room")


def test_a_graph_twice_or_relabelled_among_the_first_files_is_reported_as_in_a_store(library):
    waiting, graph = bulk.Waiting(), make_graph(13)
    renamed = AttributionGraph(graph.nodes.assign(label="renamed"), graph.edges, graph.metadata)
    assert [keep_graph(each, waiting, library) for each in (graph, graph, renamed)] == [
        "ingested", "unchanged", "updated"
    ]  # fmt: skip
    assert list(waiting.ids) == [graph.graph_id]
