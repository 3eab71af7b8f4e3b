"""Killed at any moment, client or server: every acknowledged graph is whole, and nothing else is visible."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ingest.server import LocalServer
from ingest.store import GraphStore, open_store
from tests.ingest.made_graphs import large_graph
from tests.ingest.test_store import check_aggregates
from tests.neo4j_fixture import clear, shared_jars
from tracer.errors import StoreError, StoreUnreachableError
from tracer.graph import AttributionGraph

SIZE = (150, 4_000)
ADD_ALL = """
from ingest.store import open_store
from tests.ingest.made_graphs import large_graph
with open_store() as store:
    print("ready", flush=True)
    for seed in range(100):
        graph = large_graph({}, {}, seed)
        store.add(graph)
        print(graph.graph_id, flush=True)
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


def check_store(store: GraphStore, graphs: dict[str, AttributionGraph], acknowledged: set[str]) -> None:
    """Every visible graph is whole, all acknowledged ones are visible, and at most one more is."""
    _wait_for_quiet(store)
    visible = {row["graph_id"] for row in store.graphs()}
    assert acknowledged <= visible and len(visible - acknowledged) <= 1
    rows = {row["graph_id"]: (row["nodes"], row["edges"]) for row in store.cypher(COUNTS, max_rows=10_000).records}
    assert rows == {key: (len(graphs[key].nodes), len(graphs[key].edges)) for key in visible}
    check_aggregates(store, [graphs[key] for key in visible])


@pytest.fixture(scope="module")
def graphs() -> dict[str, AttributionGraph]:
    made = [large_graph(*SIZE, seed) for seed in range(100)]
    return {graph.graph_id: graph for graph in made}


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_client_killed_in_the_middle_of_adding_leaves_whole_graphs(neo4j_home, store, graphs):
    chance = random.Random(1)
    n_acknowledged = 0
    for _ in range(4):
        clear(store)
        client = subprocess.Popen([sys.executable, "-c", ADD_ALL.format(*SIZE)], stdout=subprocess.PIPE, text=True)
        assert client.stdout and client.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.1, 3))
        client.send_signal(signal.SIGKILL)
        acknowledged = set(client.communicate()[0].split())
        assert acknowledged <= set(graphs)
        n_acknowledged += len(acknowledged)
        with open_store() as reader:
            check_store(reader, graphs, acknowledged)
    assert n_acknowledged, "every kill came before the first graph: nothing was shown"


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_server_killed_in_the_middle_of_adding_comes_back_with_whole_graphs(tmp_path, monkeypatch, graphs):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    server = LocalServer(tmp_path / "neo4j")
    try:
        for kill in range(2):
            acknowledged: set[str] = set()
            store = GraphStore(server.ensure())
            clear(store)
            pid = server.status().pid
            assert pid
            end = threading.Timer(2.5 + kill, os.kill, (pid, signal.SIGKILL))
            end.start()
            with pytest.raises(StoreError, match=r"does not answer|failed"):
                for graph in graphs.values():
                    store.add(graph)
                    acknowledged.add(graph.graph_id)
            end.join()
            store.close()
            with GraphStore(server.ensure()) as reader:
                check_store(reader, graphs, acknowledged)
    finally:
        server.stop()


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


def test_a_full_disk_stops_adding_with_a_sentence_and_loses_nothing(small_disk, monkeypatch, graphs):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    server = LocalServer(small_disk / "neo4j")
    acknowledged: set[str] = set()

    def fill(store: GraphStore) -> None:
        for graph in graphs.values():
            store.add(graph)
            acknowledged.add(graph.graph_id)

    try:
        with GraphStore(server.ensure()) as store:
            with pytest.raises(StoreError, match=r"MiB are free on the disk of .*; expected \d+ MiB or more") as caught:
                fill(store)
            assert "\n" not in str(caught.value)
            check_store(store, graphs, acknowledged)  # it still answers

            monkeypatch.setattr("ingest.store.ROOM", 0)  # another program may fill the disk all the same
            monkeypatch.setattr("ingest.store.ROOM_PER_EDGE", 0)
            with (small_disk / "filler").open("wb") as filler:
                filler.write(bytes(shutil.disk_usage(small_disk).free - (8 << 20)))
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
            check_store(store, graphs, acknowledged)
            extra = next(graph for key, graph in graphs.items() if not store.has(key))
            assert store.add(extra) == "ingested"
    finally:
        server.stop()
