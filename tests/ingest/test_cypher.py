"""What a user types reads this database within limits, can be cancelled, and errors say where. See test_hostile."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial, partialmethod

import neo4j
import pytest

from ingest import bolt
from ingest.store import MOST_SIZE
from tests.ingest.made_graphs import make_graph
from tracer.errors import QueryError, StoreUnreachableError

ENDLESS = "UNWIND range(1, 1000000000000) AS x WITH x WHERE x % 7 = 8 RETURN count(x)"
DIVIDED = f"UNWIND range(1, 9) AS part CALL (part) {{ {ENDLESS} AS n }} IN 4 CONCURRENT TRANSACTIONS OF 1 ROWS RETURN n"
RUNNING = "SHOW TRANSACTIONS YIELD currentQuery AS text WHERE text = $text RETURN count(*) AS n"
ALLOWED = [
    "MATCH (n:Node) RETURN count(n) AS n",
    "// a remark\nMATCH (g:Graph) RETURN g.slug AS slug",
    "CYPHER 25 MATCH (n:Node) RETURN n LIMIT 1",
    "CYPHER 5 MATCH (n:Node) RETURN n LIMIT 1",
    "CALL db.labels()",
    "CALL db.relationshipTypes() YIELD relationshipType AS t RETURN t",
    "CALL db.schema.visualization()",
    "CALL db.schema.nodeTypeProperties()",
    "CALL db.index.fulltext.queryNodes('node_labels', 'texas') YIELD node, score RETURN node.label, score",
    "SHOW INDEXES",
    "SHOW CONSTRAINTS YIELD name RETURN name",
    "UNWIND range(1, 3) AS x CALL (x) { RETURN x * 2 AS y } RETURN x, y",
    "MATCH p = (:Token)-[:AFFECTS*1..2]->(:ActiveFeature) RETURN p LIMIT 2",
    "MATCH (:Token)-[r:AFFECTS]->+(:Logit) RETURN count(*) AS n LIMIT 2",
    "MATCH (n:Node) RETURN n LIMIT 1;",
    "CYPHER runtime=slotted MATCH (n:Node) RETURN n LIMIT 1",
    "CYPHER 25 MATCH (n:Node) RETURN n NEXT RETURN count(n) AS n",
    "CYPHER 25 WHEN true THEN RETURN 1 AS x ELSE RETURN 2 AS x",
    "CYPHER 25 LET x = 1 FILTER x = 1 RETURN x",
    "RETURN date.truncate('day', datetime()) AS day, point.distance(point({x: 1, y: 1}), point({x: 1, y: 2})) AS far",
    "MATCH (n:Node) WHERE n.label CONTAINS 'os.path.join(a)' OR n.label = 'USE neo4j' RETURN n",
    "MATCH (use:Node) RETURN use.use AS use ORDER BY use // USE system apoc.load.json('x')",
    "MATCH (n:`USE x`) RETURN n.`create.a` AS `SET (x)`",
    "UNWIND ['CREATE (n)', 'DELETE'] AS text RETURN text",
    "CALL { RETURN 1 AS x } IN TRANSACTIONS RETURN x",
    "UNWIND [0] AS x CALL (x) { RETURN 1 / x AS y } IN TRANSACTIONS ON ERROR CONTINUE REPORT STATUS AS s RETURN y, s",
    "MATCH (n:Node) CALL (n) { MATCH (n)-[r:AFFECTS]->() RETURN r } IN 3 CONCURRENT TRANSACTIONS OF 2 ROWS RETURN n, r",
]


@pytest.mark.parametrize("text", ALLOWED)
def test_what_reads_the_data_is_answered(store, text):
    store.add(make_graph(1))
    assert store.cypher(text).columns


def test_the_local_server_reads_no_file_and_no_address_even_unguarded(store):
    for place in ("file:///etc/passwd", "http://127.0.0.1:1/"):
        with pytest.raises(QueryError):
            store._client.read(f"LOAD CSV FROM '{place}' AS line RETURN line", {})


def test_an_error_has_its_place_in_the_text_as_typed(store):
    with pytest.raises(QueryError, match="RETRN") as caught:
        store.cypher("MATCH (n) RETRN n")
    assert (caught.value.line, caught.value.column) == (1, 11)
    with pytest.raises(QueryError, match="not defined") as caught:
        store.cypher("MATCH (n)\n  WHERE n.x = 1\nRETURN m")
    assert (caught.value.line, caught.value.column) == (3, 8)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["MATCH (n RETURN n", "RETURN m", "RETURN $missing"])
def test_an_error_says_what_was_expected_and_what_to_do(store, text):
    with pytest.raises(QueryError, match=r"[Ee]xpected .*\. Correct .*\.$"):
        store.cypher(text)


def test_a_parameter_that_is_missing_is_named(store):
    with pytest.raises(QueryError, match="slug"):
        store.cypher("MATCH (g:Graph {slug: $slug}) RETURN g")


def test_an_error_while_running_is_a_query_error(store):
    with pytest.raises(QueryError, match="zero"):
        store.cypher("UNWIND [1, 0] AS x RETURN 1 / x AS y")


def test_parameters_reach_the_query_as_values(store):
    text = "RETURN $a AS a, $b AS b"
    values = {"a": "'; MATCH (n) DELETE n //", "b": [1, 2.5, None, {"c": True}]}
    assert store.cypher(text, values).records == [values]


def test_rows_over_the_limit_are_left_out_and_it_is_said(store):
    rows = store.cypher("UNWIND range(1, 1000000) AS x RETURN x", max_rows=10)
    assert rows.truncated and [row["x"] for row in rows.records] == list(range(1, 11))
    assert not store.cypher("UNWIND range(1, 10) AS x RETURN x", max_rows=10).truncated


@pytest.mark.parametrize("endless", [ENDLESS, DIVIDED])
def test_a_query_over_its_time_is_stopped_in_all_its_transactions(store, endless):
    began = time.perf_counter()
    with pytest.raises(QueryError, match="longer than its time limit"):
        store.cypher(endless, timeout_s=1)
    assert time.perf_counter() - began < 20
    assert not store._client.read(RUNNING, {"text": endless}).records[0]["n"]


def test_an_expression_that_the_server_cannot_stop_is_given_up_and_others_go_on(store, monkeypatch):
    monkeypatch.setattr(bolt, "PATIENCE_S", 1)
    began = time.perf_counter()
    with pytest.raises(QueryError, match=r"longer than its time limit and was given up.*UNWIND"):
        store.cypher("RETURN size([x IN range(1, 400000000) WHERE x % 7 = 8]) AS n", timeout_s=1)
    assert time.perf_counter() - began < 20
    assert store.cypher("RETURN 1 AS x").records == [{"x": 1}]


def test_a_query_on_whose_nesting_the_server_breaks_down_is_given_up_and_others_go_on(store, monkeypatch):
    monkeypatch.setattr(bolt, "PLAN_S", 2)
    monkeypatch.setattr(bolt, "PATIENCE_S", 1)
    with pytest.raises(QueryError, match="nests too deep"):
        store.cypher(f"RETURN {'[' * 3000}1{']' * 3000} AS x")
    assert store.cypher("RETURN 1 AS x").records == [{"x": 1}]


def test_what_breaks_the_server_down_is_the_query_where_others_are_answered_and_the_server_where_none_is(
    store, monkeypatch
):
    run = neo4j.Session.run

    def break_down(session, query, *rest, only_on="", **more):
        if getattr(query, "text", query).startswith(only_on):
            raise neo4j.exceptions.DatabaseError("Unexpected expression")
        return run(session, query, *rest, **more)

    monkeypatch.setattr(neo4j.Session, "run", partialmethod(break_down, only_on="EXPLAIN"))
    with pytest.raises(QueryError, match=r"broke down on this query \(.*\), and answers others.*nests too deep"):
        store.cypher("RETURN 1 AS x")
    monkeypatch.setattr(neo4j.Session, "run", partialmethod(break_down))
    with pytest.raises(StoreUnreachableError, match="cannot go on"):
        store.cypher("RETURN 1 AS x")


@pytest.mark.parametrize(
    "text",
    [
        "UNWIND range(1, 100000000) AS x WITH collect('text ' + x) AS y RETURN size(y)",
        # two of these fit into what one query may have, three do not
        "UNWIND range(1, 16) AS part CALL (part) { UNWIND range(1, 10000000) AS x RETURN collect(x) AS y } "
        "IN 16 CONCURRENT TRANSACTIONS OF 1 ROWS RETURN size(y)",
    ],
)
def test_a_query_over_its_memory_is_stopped_and_the_server_lives(store, text):
    with pytest.raises(QueryError, match=r"(?i)more memory|time limit"):
        store.cypher(text, timeout_s=60)
    assert store.cypher("RETURN 1 AS x").records == [{"x": 1}]


def test_texts_that_the_server_does_not_count_cannot_end_it_either(store):
    with pytest.raises(QueryError, match="More memory"):
        store.cypher("RETURN reduce(text = 'x', i IN range(1, 29) | text + text) AS text")
    assert store.cypher("RETURN 1 AS x").records == [{"x": 1}]


def test_an_answer_of_huge_values_is_cut_before_it_fills_the_memory_here(store):
    text = (
        "WITH reduce(text = 'x', i IN range(1, $doublings) | text + text) AS text UNWIND range(1, 200) AS i RETURN text"
    )
    rows = store.cypher(text, {"doublings": 22})
    assert rows.truncated and len(rows) == MOST_SIZE >> 22
    with pytest.raises(QueryError, match=r"One row has 33,554,432 characters.*expected at most 20,000,000"):
        store.cypher(text, {"doublings": 25})


def test_a_row_of_millions_of_numbers_is_read_within_the_time_that_its_query_may_take(store):
    # a second or two; number by number it would take fifteen
    (row,) = store.cypher("RETURN range(1, 6000000) AS x", timeout_s=10).records
    assert len(row["x"]) == 6_000_000 and row["x"][-1] == 6_000_000


@pytest.mark.parametrize("written", ["DB.LABELS", "db.Labels", "Db.Index.Fulltext.QueryNodes"])
def test_a_procedure_in_other_capitals_is_told_as_it_is_written(store, written):
    with pytest.raises(QueryError, match=rf"no procedure {written}; expected db\.[a-zA-Z.]+\. Capitals matter"):
        store.cypher(f"CALL {written}('a', 'b')")


@pytest.mark.parametrize("endless", [ENDLESS, DIVIDED])
def test_a_query_is_cancelled_by_its_name_and_no_other_is(store, endless):
    failed: list[QueryError] = []

    def ask() -> None:
        try:
            store.cypher(endless, timeout_s=120, name="mine")
        except QueryError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    began = time.perf_counter()
    asking.start()
    assert not store.cancel("another")
    while not store.cancel("mine"):
        time.sleep(0.05)
    asking.join()
    assert "was cancelled" in str(failed[0]) and time.perf_counter() - began < 60
    assert not store.cancel("mine")
    assert not store._client.read(RUNNING, {"text": endless}).records[0]["n"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("endless", [ENDLESS, DIVIDED])
def test_ctrl_c_ends_the_query_here_and_at_the_server(store, endless):
    command = [sys.executable, "-m", "app.cli", "cypher", endless, "--timeout-s", "300"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs do not hear Ctrl-C
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    while not store._client.read(RUNNING, {"text": endless}).records[0]["n"]:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert "Interrupted" in told and process.returncode == 130
    assert not store._client.read(RUNNING, {"text": endless}).records[0]["n"]


def test_graph_values_say_what_they_are(store):
    graph = make_graph(1)
    store.add(graph)
    row = store.cypher("MATCH p = (n:Token)-[r:AFFECTS]->(m) RETURN n, r, m, p LIMIT 1").records[0]
    assert row["n"]["_kind"] == "node" and row["n"]["_labels"] == ["Node", "Token"]
    assert row["n"]["graph_id"] == graph.graph_id
    assert row["r"]["_kind"] == "relationship" and row["r"]["_type"] == "AFFECTS"
    assert (row["r"]["_source"], row["r"]["_target"]) == (row["n"]["_id"], row["m"]["_id"])
    assert row["p"] == {"_kind": "path", "nodes": [row["n"], row["m"]], "relationships": [row["r"]]}
    ingested_at = store.cypher("MATCH (g:Graph) RETURN g.ingested_at AS t").records[0]["t"]
    assert isinstance(ingested_at, str)
