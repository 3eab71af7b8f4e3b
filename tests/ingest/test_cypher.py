"""What a user types can read this database and nothing else, within limits, and errors say where."""

import time

import pytest

from ingest.bolt import Plan
from ingest.guard import check_plan
from tests.ingest.made_graphs import make_graph
from tracer.errors import QueryError

REFUSED = [
    "CREATE (n)",
    "MERGE (n:X {a: 1}) RETURN n",
    "MATCH (n) SET n.x = 1",
    "MATCH (n) REMOVE n.label",
    "MATCH (n) DETACH DELETE n",
    "MATCH (n) NODETACH DELETE n",
    "FOREACH (x IN [1] | CREATE (:X))",
    "MATCH (n) CALL (n) { SET n.x = 1 } IN TRANSACTIONS",
    "CALL { CREATE (n) } IN TRANSACTIONS",
    "RETURN COUNT { CREATE (n) RETURN n } AS n",
    "CYPHER 25 INSERT (:X)",
    "CYPHER 5 CREATE (n)",
    "CREATE INDEX x FOR (n:X) ON (n.y)",
    "DROP INDEX node_graph",
    "DROP CONSTRAINT graph_key",
    "CREATE CONSTRAINT x FOR (n:X) REQUIRE n.y IS UNIQUE",
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
    "LOAD CSV FROM 'http://127.0.0.1/' AS line RETURN line",
    "MATCH (n) CALL (n) { LOAD CSV FROM 'file:///x' AS line RETURN line } RETURN n",
    "CALL dbms.listConfig()",
    "CALL dbms.components()",
    "CALL dbms.killConnection('x')",
    "CALL dbms.listConnections()",
    "CALL dbms.setConfigValue('a', 'b')",
    "CALL dbms.queryJmx('*:*')",
    "CALL db.clearQueryCaches()",
    "CALL db.createLabel('x')",
    "CALL db.createProperty('x')",
    "CALL db.createRelationshipType('x')",
    "CALL db.prepareForReplanning()",
    "CALL db.resampleIndex('node_graph')",
    "CALL db.stats.retrieve('QUERIES')",
    "CALL db.checkpoint()",
    "CALL db.index.fulltext.awaitEventuallyConsistentIndexRefresh()",
    "CALL tx.setMetaData({a: 1})",
    "CALL tx.getMetaData() YIELD metadata RETURN metadata",
    "MATCH (n) CALL dbms.listConfig() YIELD name RETURN n, name",
    "SHOW USERS",
    "SHOW CURRENT USER",
    "SHOW ROLES",
    "SHOW PRIVILEGES",
    "SHOW DATABASES",
    "SHOW HOME DATABASE",
    "SHOW SETTINGS",
    "SHOW TRANSACTIONS",
    "SHOW TRANSACTIONS YIELD * RETURN *",
    "SHOW SERVERS",
    "TERMINATE TRANSACTIONS 'x'",
    "CREATE USER x SET PASSWORD 'abcdefgh'",
    "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'bbbbbbbb'",
    "ALTER USER neo4j SET PASSWORD 'abcdefgh'",
    "DROP USER neo4j",
    "RENAME USER neo4j TO x",
    "CREATE DATABASE x",
    "DROP DATABASE neo4j",
    "STOP DATABASE neo4j",
    "ALTER DATABASE neo4j SET ACCESS READ ONLY",
    "CREATE ALIAS x FOR DATABASE neo4j",
    "GRANT ROLE x TO y",
    "ENABLE SERVER 'x'",
    "USE system MATCH (n) RETURN n",
    "USE system SHOW USERS",
    "USE graph.byName('system') MATCH (n) RETURN n",
    "RETURN 1 AS x; CREATE (n)",
    "MATCH (n) RETURN n /* */ ; MATCH (n) DETACH DELETE n",
    "CALL apoc.load.json('http://127.0.0.1/')",
    "PROFILE CREATE (n)",
    "EXPLAIN CREATE (n)",
    "",
    "  // nothing\n",
]
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
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_writes_administers_or_reads_outside_is_refused(store, text):
    with pytest.raises(QueryError):
        store.cypher(text)
    assert set(store.schema_counts()) == {"Meta"}


@pytest.mark.parametrize("text", ALLOWED)
def test_what_reads_the_data_is_answered(store, text):
    store.add(make_graph(1))
    assert store.cypher(text).columns


def test_the_server_itself_refuses_to_write_in_a_reading_session(store):
    with pytest.raises(QueryError, match=r"(?i)writ.*not allowed|access mode"):
        store._client.read("CREATE (n)", {})


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


def test_a_query_over_its_time_is_stopped(store):
    began = time.perf_counter()
    with pytest.raises(QueryError, match="longer than its time limit"):
        store.cypher("UNWIND range(1, 1000000000) AS x WITH x WHERE x % 7 = 8 RETURN count(x)", timeout_s=1)
    assert time.perf_counter() - began < 20


def test_a_query_over_its_memory_is_stopped_and_the_server_lives(store):
    with pytest.raises(QueryError, match=r"(?i)more memory|time limit"):
        store.cypher("UNWIND range(1, 100000000) AS x WITH collect('text ' + x) AS y RETURN size(y)", timeout_s=60)
    assert store.cypher("RETURN 1 AS x").records == [{"x": 1}]


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


@pytest.mark.parametrize(
    "plan",
    [
        Plan("w", (("ProduceResults", ""),)),
        Plan("rw", (("ProduceResults", ""),)),
        Plan("s", ()),
        Plan("r", ()),
        Plan("r", (("ProduceResults", ""), ("LoadCSV", "line"))),
        Plan("r", (("ProcedureCall", "dbms.listConfig() :: (name :: STRING)"),)),
        Plan("r", (("ProcedureCall", "db.labelsx() :: ()"),)),
        Plan("r", (("ShowTransactions", ""),)),
    ],
)
def test_the_guard_goes_by_the_plan(plan):
    with pytest.raises(QueryError, match="refused"):
        check_plan(plan)
