"""Fixtures of a real Neo4j: `neo4j_home` (one server for the session), `store` (empty for each test), `library`.

The jars come from the cache of this user, so that they are fetched once and not once a test run.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ingest.home import jar_cache
from ingest.library import Library
from ingest.load import keep_graph
from ingest.server import LocalServer
from ingest.store import GraphStore, open_store
from tracer.graph import AttributionGraph

CLEAR = "MATCH (n) WHERE NOT n:Meta CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 2000 ROWS"


def shared_jars() -> Path:
    """This user's cache of jars, whatever home a test has."""
    return Path(os.environ.get("THROUGHLINE_JARS") or jar_cache())


@pytest.fixture(scope="session")
def neo4j_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """THROUGHLINE_HOME for the session, with a running local server; environment variables name it."""
    folder = tmp_path_factory.mktemp("throughline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHLINE_JARS", str(shared_jars()))
        patch.setenv("THROUGHLINE_HOME", str(folder))
        for name in ("URI", "USER", "PASSWORD", "DATABASE", "PORT"):
            patch.delenv(f"THROUGHLINE_NEO4J_{name}", raising=False)
        server = LocalServer()
        server.ensure()
        yield folder
        server.stop()


def clear(store: GraphStore) -> None:
    """Delete everything but the schema."""
    store._client.run_schema(CLEAR)


@pytest.fixture
def store(neo4j_home: Path) -> Iterator[GraphStore]:
    """The store of the session's server, empty."""
    with open_store() as opened:
        clear(opened)
        yield opened


@pytest.fixture
def library(
    tmp_path: Path, store: GraphStore, graphs: Sequence[AttributionGraph], monkeypatch: pytest.MonkeyPatch
) -> Library:
    """A library of its own, the commands' too, with these graphs."""
    monkeypatch.setenv("THROUGHLINE_LIBRARY", str(tmp_path / "library"))
    library = Library(tmp_path / "library")
    for graph in graphs:
        keep_graph(graph, store, library)
    return library
