"""Statements of the manuals that write, administer or read outside: all refused, and nothing changes."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from ingest import guard
from ingest.bolt import Plan
from ingest.store import GraphStore, open_store
from tests.ingest.made_graphs import make_graph
from tests.neo4j_fixture import clear
from tracer.errors import QueryError

WRITES = """
CREATE (n)
CREATE (n:X {a: 1})-[:Y]->(m)
INSERT (:X {a: 1})
INSERT (:X)-[:Y]->(:X)
CREATE (n) FINISH
CREATE (n:$('X'))
MERGE (n:X {a: 1}) RETURN n
MERGE (n:X) ON CREATE SET n.x = 1 ON MATCH SET n.y = 1
MATCH (a:Node), (b:Node) MERGE (a)-[:AFFECTS]->(b)
MATCH (n) SET n.x = 1
MATCH (n) SET n = {}
MATCH (n) SET n += {a: 1}
MATCH (n) SET n:X
MATCH (n) SET n IS X
MATCH (n) SET n:$('X')
MATCH (n) SET n['label'] = 'x'
MATCH ()-[r]->() SET r.effect = 0
MATCH (n) REMOVE n.label
MATCH (n) REMOVE n:Node
MATCH (n) REMOVE n['label']
MATCH (n) DELETE n
MATCH (n) DETACH DELETE n
MATCH (n) NODETACH DELETE n
MATCH ()-[r]->() DELETE r
MATCH p = ()-->() DELETE p
FOREACH (x IN [1] | CREATE (:X))
MATCH (n) FOREACH (x IN [n] | SET x.y = 1)
MATCH (n) WITH n LIMIT 1 DETACH DELETE n RETURN 1 AS x
UNWIND [1] AS x CREATE (n:X {x: x}) RETURN n
MATCH (n) RETURN n UNION CREATE (m) RETURN m AS n
CALL () { CREATE (n) } RETURN 1 AS x
CALL { CREATE (n) RETURN n } RETURN n
MATCH (n) CALL (n) { SET n.x = 1 } IN TRANSACTIONS
MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10 ROWS ON ERROR CONTINUE REPORT STATUS AS s RETURN s
MATCH (n) CALL (n) { CREATE (:X) } IN 2 CONCURRENT TRANSACTIONS
CALL { CREATE (n) } IN TRANSACTIONS
RETURN COUNT { CREATE (n) RETURN n } AS n
RETURN EXISTS { CREATE (n) } AS n
RETURN COLLECT { CREATE (n) RETURN n } AS n
MATCH (n) RETURN n NEXT CREATE (m)
CREATE (n) RETURN n NEXT MATCH (m) RETURN m
{CREATE (n) RETURN n}
WHEN true THEN { CREATE (n) RETURN n } ELSE { MATCH (n) RETURN n }
LET x = 1 CREATE (n {x: x})
MATCH (n) FILTER n.x = 1 DELETE n
\\u0043REATE (n)
C\\u0052EATE (n)
/* */CREATE/**/(n)
CR/**/EATE (n)
RETURN 1 AS x; CREATE (n)
RETURN 1 AS `x\\u0060; CREATE (n) //`
MATCH (n) RETURN n /* */ ; MATCH (n) DETACH DELETE n
CYPHER runtime=slotted CREATE (n)
CYPHER planner=cost runtime=pipelined MATCH (n) DETACH DELETE n
CYPHER replan=force updateStrategy=eager MATCH (n) SET n.x = 1
CALL db.createLabel('x')
CALL db.createProperty('x')
CALL db.createRelationshipType('x')
MATCH (n) CALL db.create.setNodeVectorProperty(n, 'a', [1.0])
MATCH ()-[r]->() CALL db.create.setRelationshipVectorProperty(r, 'a', [1.0])
"""
SCHEMA = """
CREATE INDEX x FOR (n:X) ON (n.y)
CREATE RANGE INDEX x IF NOT EXISTS FOR ()-[r:X]-() ON (r.y)
CREATE TEXT INDEX x FOR (n:X) ON (n.y)
CREATE POINT INDEX x FOR (n:X) ON (n.y)
CREATE LOOKUP INDEX x FOR (n) ON EACH labels(n)
CREATE FULLTEXT INDEX x FOR (n:X) ON EACH [n.y]
CREATE VECTOR INDEX x FOR (n:X) ON (n.y)
CREATE CONSTRAINT x FOR (n:X) REQUIRE n.y IS UNIQUE
CREATE CONSTRAINT x FOR (n:X) REQUIRE n.y IS NOT NULL
CREATE CONSTRAINT x FOR (n:X) REQUIRE n.y IS :: STRING
CREATE OR REPLACE DATABASE neo4j
DROP INDEX node_graph
DROP INDEX node_labels IF EXISTS
DROP CONSTRAINT graph_key
DROP CONSTRAINT node_key IF EXISTS
ALTER CURRENT GRAPH TYPE SET {}
ALTER CURRENT GRAPH TYPE ADD {(:X {a :: STRING})}
"""
ADMINISTERS = """
CREATE USER x SET PASSWORD 'abcdefgh'
CREATE USER x SET PASSWORD 'abcdefgh' CHANGE NOT REQUIRED
CREATE OR REPLACE USER neo4j SET PASSWORD 'abcdefgh'
ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'bbbbbbbb'
ALTER USER neo4j SET PASSWORD 'abcdefgh'
ALTER USER neo4j SET STATUS SUSPENDED
DROP USER neo4j
RENAME USER neo4j TO x
CREATE ROLE x
DROP ROLE reader
RENAME ROLE reader TO x
GRANT ROLE x TO y
REVOKE ROLE x FROM y
GRANT ALL ON DBMS TO reader
DENY READ {*} ON GRAPH * TO x
REVOKE READ {*} ON GRAPH * FROM x
CREATE DATABASE x
CREATE COMPOSITE DATABASE x
DROP DATABASE neo4j
DROP DATABASE neo4j DUMP DATA
START DATABASE neo4j
STOP DATABASE neo4j
ALTER DATABASE neo4j SET ACCESS READ ONLY
ALTER DATABASE neo4j SET OPTION txLogEnrichment 'FULL'
CREATE ALIAS x FOR DATABASE neo4j
CREATE ALIAS x FOR DATABASE neo4j AT 'neo4j://127.0.0.1:7687' USER x PASSWORD 'abcdefgh'
ALTER ALIAS x SET DATABASE TARGET neo4j
DROP ALIAS x FOR DATABASE
ENABLE SERVER 'x'
ALTER SERVER 'x' SET OPTIONS {modeConstraint: 'PRIMARY'}
RENAME SERVER 'x' TO 'y'
DROP SERVER 'x'
DEALLOCATE DATABASES FROM SERVER 'x'
DRYRUN REALLOCATE DATABASES
REALLOCATE DATABASES
TERMINATE TRANSACTIONS 'neo4j-transaction-1'
TERMINATE TRANSACTION 'neo4j-transaction-1' YIELD message RETURN message
SHOW TRANSACTIONS YIELD transactionId AS id TERMINATE TRANSACTIONS id YIELD message RETURN message
SHOW TRANSACTIONS
SHOW TRANSACTIONS YIELD * RETURN *
SHOW SETTINGS
SHOW SETTINGS YIELD name, value WHERE name CONTAINS 'dir' RETURN name, value
SHOW USERS
SHOW CURRENT USER
SHOW ROLES
SHOW PRIVILEGES
SHOW USER PRIVILEGES AS COMMANDS
SHOW SUPPORTED PRIVILEGES
SHOW DATABASES
SHOW DATABASE neo4j
SHOW HOME DATABASE
SHOW DEFAULT DATABASE
SHOW ALIASES FOR DATABASE
SHOW SERVERS
SHOW AUTH RULES
CALL dbms.listConfig()
CALL dbms.listConfig('dir') YIELD name, value RETURN name, value
MATCH (n) CALL dbms.listConfig() YIELD name RETURN n, name
CALL `dbms`.`listConfig`()
CALL dbms . listConfig ()
CALL dbms.components()
CALL dbms.info()
CALL dbms.showCurrentUser()
CALL dbms.listActiveLocks('x')
CALL dbms.listCapabilities()
CALL dbms.listConnections()
CALL dbms.killConnection('x')
CALL dbms.killConnections(['x'])
CALL dbms.listPools()
CALL dbms.queryJmx('*:*')
CALL dbms.setConfigValue('a', 'b')
CALL dbms.routing.getRoutingTable({})
CALL dbms.cluster.routing.getRoutingTable({})
CALL dbms.upgrade()
CALL dbms.upgradeStatus()
CALL dbms.scheduler.profile('x', 'y', '1s')
CALL dbms.scheduler.jobs()
CALL dbms.quarantineDatabase('neo4j', true)
CALL dbms.setDefaultDatabase('x')
CALL db.clearQueryCaches()
CALL db.prepareForReplanning()
CALL db.resampleIndex('node_graph')
CALL db.resampleOutdatedIndexes()
CALL db.awaitIndex('node_graph')
CALL db.awaitIndexes(1)
CALL db.stats.clear('QUERIES')
CALL db.stats.collect('QUERIES')
CALL db.stats.retrieve('QUERIES')
CALL db.stats.retrieveAllAnonymized('x')
CALL db.stats.status()
CALL db.stats.stop('QUERIES')
CALL db.checkpoint()
CALL db.info()
CALL db.ping()
CALL db.listLocks()
CALL db.index.fulltext.awaitEventuallyConsistentIndexRefresh()
CALL tx.setMetaData({a: 1})
CALL tx.getMetaData() YIELD metadata RETURN metadata
:use system
:param x => 1
BEGIN
COMMIT
ROLLBACK
"""
READS_OUTSIDE = """
LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line
LOAD CSV WITH HEADERS FROM 'file:///x' AS line FIELDTERMINATOR ';' RETURN line
LOAD CSV FROM 'http://127.0.0.1/' AS line RETURN line
LOAD CSV FROM 'https://127.0.0.1/' AS line RETURN line
LOAD CSV FROM 'ftp://127.0.0.1/' AS line RETURN line
LOAD CSV FROM $url AS line RETURN line
LOAD CSV FROM 'fi' + 'le:///x' AS line RETURN line
L\\u004FAD CSV FROM 'file:///etc/passwd' AS line RETURN line
MATCH (n) CALL (n) { LOAD CSV FROM 'file:///x' AS line RETURN line } RETURN n
USE system MATCH (n) RETURN n
USE system SHOW USERS
USE neo4j MATCH (n) RETURN n
USE graph.byName('system') MATCH (n) RETURN n
USE graph.byElementId('4:x:1') MATCH (n) RETURN n
/**/us\\u0065/**/system MATCH (n) RETURN n
CALL { USE system MATCH (n) RETURN n } RETURN n
CALL apoc.load.json('http://127.0.0.1/')
CALL apoc.load.csv('file:///etc/passwd')
CALL apoc.cypher.runWrite('CREATE (n)', {})
CALL apoc.cypher.doIt('CREATE (n)', {}) YIELD value RETURN value
CALL apoc.periodic.iterate('MATCH (n) RETURN n', 'DELETE n', {})
CALL apoc.periodic.commit('MATCH (n) DELETE n', {})
CALL apoc.export.csv.all('/tmp/x.csv', {})
CALL apoc.export.cypher.all(null, {stream: true})
CALL apoc.trigger.add('x', 'CREATE (n)', {})
CALL apoc.systemdb.graph()
CALL apoc.config.list()
CALL apoc.util.sleep(1000)
CALL apoc.nodes.delete([], 1)
CALL gds.graph.list()
CALL genai.vector.encodeBatch(['x'], 'OpenAI', {})
RETURN apoc.cypher.runFirstColumnSingle('CREATE (n) RETURN n', {}) AS x
RETURN `apoc`.`cypher`.runFirstColumnMany('CALL dbms.listConfig()', {}) AS x
RETURN `apoc.load`.json('x') AS x
RETURN apoc /* */ . load . /**/ json ('x') AS x
RETURN ap\\u006fc.load.json('x') AS x
RETURN genai.vector.encode('secret', 'OpenAI', {token: 'x'}) AS x
"""
GUISES = ("{}", "CYPHER 25 {}", "EXPLAIN {}", "PROFILE {}", "// a remark\n\n  cypher 5 /* */ {};\n//")
CONTENT = (
    "MATCH (n) RETURN elementId(n) AS id, labels(n) AS names, properties(n) AS has ORDER BY id",
    "MATCH ()-[r]->() RETURN elementId(r) AS id, type(r) AS names, properties(r) AS has ORDER BY id",
    "SHOW INDEXES YIELD name, type, labelsOrTypes, properties, state RETURN * ORDER BY name",
    "SHOW CONSTRAINTS YIELD name, type, labelsOrTypes, properties RETURN * ORDER BY name",
)
SETTINGS = (
    "SHOW DATABASES YIELD name, access, currentStatus RETURN * ORDER BY name",
    "SHOW USERS YIELD user, passwordChangeRequired, suspended RETURN * ORDER BY user",
    "SHOW PROCEDURES YIELD name RETURN collect(name) AS names",
    "SHOW SETTINGS YIELD name, value RETURN * ORDER BY name",
    "CALL db.labels() YIELD label RETURN collect(label) AS names",
    "CALL db.relationshipTypes() YIELD relationshipType RETURN collect(relationshipType) AS names",
    "CALL db.propertyKeys() YIELD propertyKey RETURN collect(propertyKey) AS names",
)


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


HOSTILE = lines(WRITES) + lines(SCHEMA) + lines(ADMINISTERS) + lines(READS_OUTSIDE)


def state(store: GraphStore, texts: tuple[str, ...]) -> str:
    """A hash of what these queries tell."""
    seen = [store._client.read(text, {}).records for text in texts]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


@pytest.fixture(scope="module")
def filled(neo4j_home) -> Iterator[GraphStore]:
    with open_store() as store:
        clear(store)
        store.add(make_graph(1))
        before = state(store, SETTINGS)
        yield store
        assert state(store, SETTINGS) == before


@pytest.fixture(scope="module")
def content(filled) -> str:
    return state(filled, CONTENT)


def test_there_are_far_more_than_sixty_and_none_is_there_twice():
    assert len(HOSTILE) == len(set(HOSTILE)) > 200


@pytest.mark.parametrize("statement", HOSTILE)
def test_it_is_refused_with_a_sentence_in_every_guise_and_nothing_changes(filled, content, statement):
    for guise in GUISES:
        with pytest.raises(QueryError) as caught:
            filled.cypher(guise.format(statement), {"url": "file:///etc/passwd"})
        said = str(caught.value)
        assert 10 < len(said) < 600 and "\n" not in said and "Traceback" not in said
    assert state(filled, CONTENT) == content


@pytest.mark.parametrize("statement", lines(WRITES) + lines(SCHEMA))
def test_the_server_alone_refuses_what_writes(filled, content, statement):
    with pytest.raises(QueryError):
        filled._client.read(statement, {})
    assert state(filled, CONTENT) == content


@pytest.mark.parametrize("text", ["", "  // nothing\n", "/* nothing", ";", "EXPLAIN", "CYPHER 25"])
def test_nothing_is_no_query(filled, text):
    with pytest.raises(QueryError):
        filled.cypher(text)


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
        guard.check_plan(plan)
