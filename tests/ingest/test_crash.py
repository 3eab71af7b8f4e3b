"""Killed at any moment, client or server: every acknowledged graph is whole, and nothing else is visible."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.bolt import Connection
from ingest.keep import remove_graph, verify
from ingest.library import default_library
from ingest.server import LocalServer
from ingest.store import ROOM, GraphStore, open_store
from tests.ingest.made_graphs import large_graph
from tests.ingest.test_store import check_aggregates
from tests.neo4j_fixture import shared_jars
from tracer.errors import StoreError, StoreUnreachableError
from tracer.graph import AttributionGraph

N_KILLS = int(os.environ.get("THROUGHLINE_KILLS", "8"))  # `make crash` makes it 100
SIZE = (120, 2_000)
N_GRAPHS = 8
WORK = """
import random, sys
import ingest.keep
from ingest.library import default_library
from ingest.load import keep_graph
from ingest.store import open_store
from tests.ingest.made_graphs import large_graph

ingest.keep.LEASE_MS = 3_000
chance, library = random.Random(int(sys.argv[2])), default_library()
with open_store() as store:
    print("ready", "", flush=True)
    while sys.argv[1] == "rebuild":
        list(ingest.keep.rebuild(store, library))
    while True:
        graph = large_graph({}, {}, chance.randrange({}))
        print("begin", graph.graph_id, flush=True)
        if graph.graph_id in library:
            ingest.keep.remove_graph(graph.graph_id, store, library)
            print("removed", graph.graph_id, flush=True)
        else:
            keep_graph(graph, store, library)
            print("ingested", graph.graph_id, flush=True)
"""
COUNTS = """
MATCH (n:Node) WITH n.graph_id AS graph_id, collect(n) AS nodes
RETURN graph_id, size(nodes) AS nodes, reduce(sum = 0, n IN nodes | sum + COUNT { (n)-[:AFFECTS]->() }) AS edges
"""


def _wait_for_quiet(store: GraphStore) -> None:
    """Until the server has finished or rolled back what the killed client left."""
    for _ in range(300):
        running = store._client.read("SHOW TRANSACTIONS YIELD transactionId RETURN transactionId", {}).records
        if len(running) <= 1:
            return
        time.sleep(0.1)
    pytest.fail(f"transactions {running} do not end")


def check_store(store: GraphStore, graphs: dict[str, AttributionGraph], visible: set[str]) -> None:
    """These graphs are there, each whole, nothing else, and the aggregate is theirs."""
    _wait_for_quiet(store)
    assert {row["graph_id"] for row in store.graphs()} == visible
    assert counts(store) == {key: sizes(graphs[key]) for key in visible}
    check_aggregates(store, [graphs[key] for key in visible])


def counts(store: GraphStore) -> dict[str, tuple[int, int]]:
    rows = store.cypher(COUNTS, max_rows=10_000)
    assert rows.settled
    return {row["graph_id"]: (row["nodes"], row["edges"]) for row in rows.records}


def sizes(graph: AttributionGraph) -> tuple[int, int]:
    return len(graph.nodes), len(graph.edges)


@pytest.fixture(scope="module")
def graphs() -> dict[str, AttributionGraph]:
    made = [large_graph(*SIZE, seed) for seed in range(40)]
    return {graph.graph_id: graph for graph in made}


class Watcher(threading.Thread):
    """A reader that looks at all graphs again and again, whatever is killed beside it."""

    def __init__(self, connection: Connection, graphs: dict[str, AttributionGraph]):
        super().__init__()
        self.connection, self.graphs = connection, graphs
        self.stopped = threading.Event()
        self.half: list[tuple] = []
        self.n_looks = 0

    def run(self) -> None:
        while not self.stopped.is_set():
            with suppress(StoreError), GraphStore(self.connection) as store:
                while not self.stopped.is_set():
                    rows = store.cypher(COUNTS, max_rows=10_000)
                    seen = {row["graph_id"]: (row["nodes"], row["edges"]) for row in rows.records}
                    self.half += [
                        item for item in seen.items() if rows.settled and item[1] != sizes(self.graphs[item[0]])
                    ]
                    self.n_looks += 1
            time.sleep(0.1)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.timeout(600 + 60 * N_KILLS)
def test_client_or_server_killed_at_any_moment_leaves_whole_graphs(tmp_path, monkeypatch, graphs):
    """Each time one of them is killed while graphs are ingested and removed, or the database is rebuilt."""
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    monkeypatch.setenv("THROUGHLINE_HOME", str(tmp_path))
    monkeypatch.delenv("THROUGHLINE_LIBRARY", raising=False)
    monkeypatch.delenv("THROUGHLINE_NEO4J_URI", raising=False)
    chance, server, library = random.Random(N_KILLS), LocalServer(), default_library()
    there: set[str] = set()
    n_acknowledged = n_looks = 0
    try:
        for kill in range(N_KILLS):
            what = "rebuild" if kill % 4 == 3 else "change"
            watcher = Watcher(server.ensure(), graphs)
            script = WORK.format(*SIZE, N_GRAPHS)
            client = subprocess.Popen(
                [sys.executable, "-c", script, what, str(kill)], stdout=subprocess.PIPE, text=True
            )
            assert client.stdout and client.stdout.readline() == "ready \n"
            watcher.start()
            told = []
            for _ in range(chance.randrange(4) if what == "change" else 0):  # graphs that are finished before the kill
                told += [client.stdout.readline().split() for _ in range(2)]
            time.sleep(chance.uniform(0.0, 2.0))
            pid = server.status().pid if kill % 2 else client.pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            if pid != client.pid:
                time.sleep(0.5)
                client.kill()
            told += [line.split() for line in client.communicate()[0].splitlines()]
            watcher.stopped.set()
            watcher.join()
            assert not watcher.half
            n_looks += watcher.n_looks

            begun = {words[1] for words in told[-1:] if words[0] == "begin"}
            for word, graph_id in told:
                (there.add if word == "ingested" else there.discard)(graph_id)  # for what is only begun: decided below
                n_acknowledged += word != "begin"
            with open_store() as store:
                _wait_for_quiet(store)
                visible = {row["graph_id"] for row in store.graphs()}
                assert there <= visible <= there | begun and set(library.ids()) <= there | begun
                check_store(store, graphs, visible)
                for graph_id in begun:  # whatever became of it, it can be removed
                    remove_graph(graph_id, store, library)
                check_store(store, graphs, there)
                assert list(verify(store, library)) == []
    finally:
        server.stop()
    assert n_acknowledged and n_looks, "every kill came before the first graph: nothing was shown"


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 180 MB that can be made larger."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("mount"):
        pytest.skip("needs the right to mount a small disk: run as root on Linux")
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=180m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("this system does not let root mount: run it outside a locked container")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_adding_with_a_sentence_and_loses_nothing(small_disk, monkeypatch):
    made = [large_graph(150, 4_000, seed) for seed in range(60)]  # together more than the disk has room for
    graphs = {graph.graph_id: graph for graph in made}
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    server = LocalServer(small_disk / "neo4j")
    acknowledged: set[str] = set()
    begun: list[str] = []

    def leave_free(n_bytes: int, name: str) -> None:
        with (small_disk / name).open("wb") as filler:
            filler.write(bytes(shutil.disk_usage(small_disk).free - n_bytes))

    def fill(store: GraphStore) -> None:
        for graph in graphs.values():
            begun.append(graph.graph_id)
            store.add(graph)
            acknowledged.add(graph.graph_id)

    try:
        with GraphStore(server.ensure()) as store:
            first = next(iter(graphs.values()))
            store.add(first)
            acknowledged.add(first.graph_id)
            leave_free(ROOM, "ballast")
            with pytest.raises(StoreError, match=r"MiB are free on the disk of .*; expected \d+ MiB or more") as caught:
                fill(store)
            assert "\n" not in str(caught.value)
            check_store(store, graphs, acknowledged)  # it still answers

            monkeypatch.setattr("ingest.store.ROOM", 0)  # another program may fill the disk all the same
            monkeypatch.setattr("ingest.store.ROOM_PER_EDGE", 0)
            leave_free(8 << 20, "filler")
            with pytest.raises(StoreUnreachableError, match="cannot go on") as caught:
                fill(store)
            assert "\n" not in str(caught.value) and acknowledged

        subprocess.run(["mount", "-o", "remount,size=600m", str(small_disk)], check=True)
        monkeypatch.setattr("ingest.server.START_TIMEOUT_S", 1)  # it had time enough to start
        monkeypatch.setattr("ingest.server.PATIENCE_S", 2)
        assert server._is_stuck(server._running() or pytest.fail("it should still run"))
        monkeypatch.undo()
        server.stop()
        with GraphStore(server.ensure()) as store:
            # the last one may have been committed while the word of it was lost
            check_store(store, graphs, acknowledged | {key for key in begun[-1:] if store.has(key)})
            extra = next(graph for key, graph in graphs.items() if not store.has(key))
            assert store.add(extra) == "ingested"
    finally:
        server.stop()
