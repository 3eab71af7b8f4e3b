"""The local server: made once however many ask, found again, stopped, and clear about what went wrong."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from ingest.bolt import Client, Connection
from ingest.home import jar_cache
from ingest.server import LocalServer
from ingest.store import GraphStore
from tests.ingest.made_graphs import make_graph
from tests.neo4j_fixture import shared_jars
from tracer.errors import LoginError, StoreError, StoreUnreachableError

ENSURE = "import sys; from ingest.server import LocalServer; print(LocalServer(sys.argv[1]).ensure().uri)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a server that two commands have started at once."""
    place = tmp_path_factory.mktemp("own server") / "neo4j"  # a blank in the name on purpose
    environment = os.environ | {"THROUGHLINE_JARS": str(shared_jars())}
    command = [sys.executable, "-c", ENSURE, str(place)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    answers = [process.communicate(timeout=300)[0] for process in both]
    assert answers[0].startswith("bolt://127.0.0.1:") and answers[0] == answers[1]
    yield place
    LocalServer(place).stop()


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    return LocalServer(folder)


def pid_of(server: LocalServer) -> int:
    pid = server.status().pid
    assert pid
    return pid


def answers(connection: Connection) -> bool:
    host, _, port = connection.uri.rpartition("/")[2].partition(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) == 0


def servers_in(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if f"--home-dir={folder.resolve()}" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_two_commands_at_once_make_one_server(folder, server):
    assert servers_in(folder) == [pid_of(server)]


def test_a_later_command_adopts_it(server):
    before = pid_of(server)
    assert server.ensure().uri == server.status().uri
    assert pid_of(server) == before


def test_people_are_told_since_when_it_runs(server):
    made = psutil.Process(pid_of(server)).create_time()
    assert datetime.fromisoformat(server.status().started or "").timestamp() == pytest.approx(made, abs=5)


def test_it_listens_on_loopback_alone(server):
    connections = psutil.Process(pid_of(server)).net_connections("tcp")
    listening = {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    assert listening and listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_it_reports_nothing_to_anybody_and_fetches_nothing_for_a_query(server):
    client = Client(server.ensure())
    text = "SHOW SETTINGS YIELD name, value WHERE name IN $names RETURN name, value"
    expected = {
        "dbms.usage_report.enabled": "false", "client.allow_telemetry": "false", "server.http.enabled": "false",
        "server.https.enabled": "false", "dbms.security.allow_csv_import_from_file_urls": "false",
    }  # fmt: skip
    rows = client.read(text, {"names": list(expected)}).records
    client.close()
    assert {row["name"]: row["value"] for row in rows} == expected


@pytest.mark.skipif(os.name == "nt", reason="Windows has no mode bits and no sessions")
def test_the_password_is_for_its_owner_alone_and_ctrl_c_does_not_reach_the_server(folder, server):
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    assert os.getsid(pid_of(server)) == pid_of(server)
    assert (folder / "password").read_text() not in " ".join(psutil.Process(pid_of(server)).cmdline())


def test_another_password_is_refused(server):
    connection = server.ensure()
    for folder, remedy in ((None, "THROUGHLINE_NEO4J_PASSWORD"), (connection.folder, "neo4j/password: put back")):
        with pytest.raises(LoginError, match=f"refused the login of 'neo4j'.*{remedy}"):
            Client(Connection(connection.uri, "neo4j", "wrong", folder=folder))


def test_a_server_whose_record_was_lost_is_found_again(folder, server):
    before = pid_of(server)
    (folder / "server.json").unlink()
    server.ensure()
    assert pid_of(server) == before


def test_a_killed_server_is_started_again_with_everything_in_it(server):
    graph = make_graph(1)
    with GraphStore(server.ensure()) as store:
        store.add(graph)
    before = pid_of(server)
    os.kill(before, signal.SIGKILL)
    psutil.Process(before).wait(30)
    assert not server.status().running
    with GraphStore(server.ensure()) as store:
        assert store.has(graph.graph_id)
        assert sorted(store.fetch(graph.graph_id).edges.effect) == sorted(graph.pruned().edges.effect)
    assert pid_of(server) != before


def test_a_command_that_comes_while_another_stops_it_starts_it_again(folder, server):
    before = server.ensure()
    stopping = threading.Thread(target=LocalServer(folder).stop)
    stopping.start()
    while answers(before):  # no longer, a second or two before its process ends
        time.sleep(0.01)
    with GraphStore(server.ensure()) as store:
        assert store.cypher("RETURN 1 AS x").records
    stopping.join()


def test_stop_ends_it_and_reset_empties_it(server):
    assert server.stop()
    assert not server.status().running and server.status().data_mib > 0
    assert not server.stop()
    with pytest.raises(StoreUnreachableError, match="does not answer"):
        Client(Connection("bolt://127.0.0.1:1", "neo4j", "x"))
    with GraphStore(server.ensure()) as store:
        assert len(store.graphs()) == 1
    assert server.reset()
    assert not server.status().running and not server.reset()


def test_a_stale_record_is_not_believed(tmp_path):
    place = tmp_path / "neo4j"
    place.mkdir()
    (place / "server.json").write_text(f'{{"pid": {os.getpid()}, "port": 1, "started": 0}}')
    assert not LocalServer(place).status().running
    assert not (place / "server.json").exists()
    assert not LocalServer(place).stop()


def test_a_port_that_is_taken_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("THROUGHLINE_NEO4J_PORT", str(port))
        with pytest.raises(StoreError, match=rf"port {port} is taken.*THROUGHLINE_NEO4J_PORT"):
            LocalServer(tmp_path / "neo4j").ensure()
    monkeypatch.setenv("THROUGHLINE_NEO4J_PORT", "many")
    with pytest.raises(StoreError, match="'many'; expected a number from 1 to 65535"):
        LocalServer(tmp_path / "neo4j").ensure()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    place = tmp_path / "neo4j"
    (place / "data").mkdir(parents=True)
    (place / "data" / "databases").write_text("a file where a folder belongs")
    with pytest.raises(StoreError, match=r"did not start.*logs:\n  .+") as caught:
        LocalServer(place).ensure()
    assert "db reset" in str(caught.value)
    assert not LocalServer(place).status().running


def test_a_java_that_cannot_start_is_told_and_not_what_went_wrong_in_an_earlier_run(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:+UseParallelGC")  # beside the one it is given
    log = tmp_path / "neo4j" / "logs" / "neo4j.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-28 00:05:58.044+0000 ERROR of yesterday\n")
    with pytest.raises(StoreError, match=r"(?s)did not start.*Multiple garbage collectors") as caught:
        LocalServer(tmp_path / "neo4j").ensure()
    assert "yesterday" not in str(caught.value)


def test_a_lost_password_is_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    place = tmp_path / "neo4j"
    (place / "data" / "databases" / "system").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"password is gone.*db reset"):
        LocalServer(place).ensure()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"two words"])
def test_a_damaged_password_is_explained_or_made_anew_where_there_is_no_database(tmp_path, monkeypatch, content):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    place = tmp_path / "neo4j"
    place.mkdir()
    (place / "password").write_bytes(content)
    assert len(LocalServer(place)._password()) > 20
    assert stat.S_IMODE((place / "password").stat().st_mode) == 0o600
    (place / "password").write_bytes(content)
    (place / "data" / "databases" / "system").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"password is damaged.*db reset"):
        LocalServer(place).ensure()


@pytest.mark.parametrize("pid", ['"abc"', "-4", "null", "1.5"])
def test_a_record_of_another_hand_is_no_server(tmp_path, pid):
    place = tmp_path / "neo4j"
    place.mkdir()
    (place / "server.json").write_text(f'{{"pid": {pid}, "port": 7687, "started": 0}}')
    assert not LocalServer(place).status().running and not LocalServer(place).stop()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be made.*THROUGHLINE_HOME"):
        LocalServer(tmp_path / "file" / "neo4j").ensure()


def test_the_jar_cache_can_be_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_JARS", str(tmp_path))
    assert LocalServer(tmp_path / "one").jars == LocalServer(tmp_path / "two").jars == tmp_path
    monkeypatch.delenv("THROUGHLINE_JARS")
    monkeypatch.setenv("THROUGHLINE_HOME", str(tmp_path / "home"))
    assert jar_cache() == tmp_path / "home" / "neo4j" / "jars"
