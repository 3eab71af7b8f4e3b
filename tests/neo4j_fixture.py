"""Fixtures of a real Neo4j: `neo4j_home` (one server for the session) and `store` (empty for each test).

The jars come from the cache of this user, so that they are fetched once and not once a test run.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.home import jar_cache
from ingest.server import LocalServer
from ingest.store import GraphStore, open_store

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
