"""A server of the user's own works by the same code, with its own limits."""

import json
from collections.abc import Iterator

import pytest
import streamlit as st

from app.cli import main
from ingest.bolt import Connection, connection_from_environment
from ingest.library import Library
from ingest.load import ingest_paths
from ingest.server import LocalServer
from ingest.store import GraphStore, open_store
from tests.app.graphs import capital_graph
from tests.app.test_pages import open_page, text_of
from tests.ingest.made_graphs import large_graph, make_graph
from tests.ingest.plain_server import PASSWORD, plain_server
from tracer.errors import LoginError, StoreError, StoreUnreachableError


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with plain_server(tmp_path_factory.mktemp("other"), "db.memory.transaction.max=24m") as connection:
        yield connection


@pytest.fixture
def environment(other: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("THROUGHLINE_HOME", str(tmp_path))
    monkeypatch.setenv("THROUGHLINE_NEO4J_URI", other.uri)
    monkeypatch.setenv("THROUGHLINE_NEO4J_USER", other.user)
    monkeypatch.setenv("THROUGHLINE_NEO4J_PASSWORD", PASSWORD)
    return monkeypatch


def test_the_environment_names_it_and_no_local_server_is_started(environment, other, tmp_path):
    graph = make_graph(1)
    with open_store() as store:
        assert store.connection.uri == other.uri
        store.remove(graph.graph_id)
        assert store.add(graph) == "ingested"
        assert store.run("circuits_through", terms=["Dallas", "Austin"], min_share=0.0).records
        assert store.cypher("MATCH (g:Graph) RETURN count(g) AS n").records == [{"n": 1}]
    assert not LocalServer().status().running and not (tmp_path / "neo4j").exists()


@pytest.fixture
def nothing_kept():
    """Pages that remember no other database, and leave none to remember."""
    for clear in (st.cache_data.clear, st.cache_resource.clear):
        clear()
    yield
    for clear in (st.cache_data.clear, st.cache_resource.clear):
        clear()


def test_command_line_and_pages_use_it_as_compose_has_it(environment, other, nothing_kept, tmp_path, capsys):
    graph = capital_graph()
    graph.save(str(tmp_path / "saved"))

    def told(*words: str) -> tuple[dict, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--format", "json"])
        out, err = capsys.readouterr()
        assert left.value.code == 0, err
        answer = json.loads(out)
        return (answer[0] if isinstance(answer, list) else answer), err

    assert told("ingest", str(tmp_path / "saved"))[0]["status"] == "ingested"
    assert told("circuits", "Dallas -> Texas -> Austin", "--graphs", graph.graph_id)[0]["graph_id"] == graph.graph_id
    assert told("cypher", "MATCH (g:Graph {slug: 'dallas-demo'}) RETURN g.prompt AS prompt")[0]["prompt"] == (
        graph.metadata.prompt
    )
    status, said = told("db", "status")
    assert other.uri in said and not status["running"]
    assert not open_page("", g=graph.graph_id).exception
    shown = open_page("circuits", p="Dallas -> Texas -> Austin")
    assert not shown.exception and not shown.error, text_of(shown)
    assert "the Dallas is" in shown.dataframe[0].value["prompt"].tolist()


def test_the_password_is_in_no_message(environment, other):
    assert PASSWORD not in repr(connection_from_environment())
    environment.setenv("THROUGHLINE_NEO4J_PASSWORD", "a wrong secret")
    with pytest.raises(LoginError, match="THROUGHLINE_NEO4J_PASSWORD") as caught:
        open_store()
    assert "a wrong secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("bolt://127.0.0.1:1", "does not answer"),
        ("http://127.0.0.1:7474", "none of Neo4j's Bolt"),
        ("nonsense", "none of Neo4j's Bolt"),
    ],
)
def test_an_address_that_leads_nowhere_is_named(environment, uri, said):
    environment.setenv("THROUGHLINE_NEO4J_URI", uri)
    with pytest.raises(StoreError, match=said) as caught:
        open_store()
    assert uri in str(caught.value)


def test_a_database_that_is_not_there_is_named(environment):
    environment.setenv("THROUGHLINE_NEO4J_DATABASE", "elsewhere")
    with pytest.raises(StoreError, match="elsewhere"):
        open_store()


def test_a_graph_too_large_for_a_transaction_is_refused_and_the_rest_goes_on(environment, tmp_path):
    large_graph(300, 12_000).save(str(tmp_path / "in" / "large"))
    make_graph(5).save(str(tmp_path / "in" / "small"))
    with open_store() as store:
        before = {row["graph_id"] for row in store.graphs()}
        large, small = ingest_paths([tmp_path / "in"], store, Library(tmp_path / "library"))
        assert large.status == "refused" and "12000 kept edges" in large.reason and "memory" in large.reason
        assert small.status == "ingested"
        assert {row["graph_id"] for row in store.graphs()} == before | {small.graph_id}
        assert store.cypher("MATCH (n:Node) WHERE n.node_id STARTS WITH 'feature' RETURN n").records == []


def test_a_server_that_went_away_says_so_and_the_next_connection_works(tmp_path):
    with plain_server(tmp_path / "short") as connection:
        store = GraphStore(connection)
        store.add(make_graph(1))
    with pytest.raises(StoreUnreachableError, match="nothing stored was lost"):
        store.graphs()
    with pytest.raises(StoreUnreachableError):
        store.add(make_graph(2))
    store.close()
