"""Jars are fetched once, checked by hash, and what goes wrong is said in a sentence."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ingest.jars import LOCK_FILE, Jar, fetch_jars, read_lock
from tracer.errors import StoreError


class Quiet(SimpleHTTPRequestHandler):
    """A file server that counts what it is asked for."""

    asked: list[str] = []  # noqa: RUF012 - one list for all requests is the point

    def do_GET(self) -> None:
        self.asked.append(self.path.rsplit("/", 1)[-1])
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository on loopback; the folder that it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    Quiet.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("THROUGHLINE_MAVEN", f"http://127.0.0.1:{server.server_address[1]}/")
    yield folder
    server.shutdown()
    server.server_close()


def publish(mirror: Path, name: str, content: bytes, classifier: str = "") -> Jar:
    jar = Jar("org.example", name, "1.0", classifier, hashlib.sha256(content).hexdigest())
    path = jar.path_in(mirror)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return jar


def test_jars_are_fetched_checked_and_counted(mirror, tmp_path):
    jars = tuple(publish(mirror, f"part{n}", bytes([n]) * 1000) for n in range(5))
    told = []
    paths = fetch_jars(tmp_path / "jars", lambda *step: told.append(step), jars)
    assert [path.read_bytes() for path in paths] == [bytes([n]) * 1000 for n in range(5)]
    assert told == [(done, 5, "fetching Neo4j") for done in range(6)]


def test_what_is_there_and_good_is_not_fetched_again(mirror, tmp_path):
    jars = tuple(publish(mirror, f"part{n}", bytes([n]) * 1000, "linux" if n else "") for n in range(3))
    fetch_jars(tmp_path / "jars", jars=jars[:1])
    jars[1].path_in(tmp_path / "jars").parent.mkdir(parents=True)
    jars[1].path_in(tmp_path / "jars").write_bytes(b"cut of")  # as an interrupted fetch leaves it
    Quiet.asked.clear()
    told = []
    fetch_jars(tmp_path / "jars", lambda *step: told.append(step), jars)
    assert sorted(name for name in Quiet.asked if name.endswith(".jar")) == sorted(jar.file_name for jar in jars[1:])
    assert told[0] == (1, 3, "fetching Neo4j")
    Quiet.asked.clear()
    fetch_jars(tmp_path / "jars", lambda *step: pytest.fail("nothing is to be told"), jars)
    assert not Quiet.asked


def test_two_that_fetch_into_one_folder_at_once_wait_for_each_other(mirror, tmp_path):
    jars = tuple(publish(mirror, f"part{n}", bytes([n]) * 1_000_000) for n in range(20))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch_jars(tmp_path / "jars", jars=jars), range(4)))
    assert all(path.read_bytes() == bytes([n]) * 1_000_000 for paths in found for n, path in enumerate(paths))
    assert sorted(name for name in Quiet.asked if name.endswith(".jar")) == sorted(jar.file_name for jar in jars)


def test_another_content_than_the_pinned_one_is_fetched_twice_and_refused(mirror, tmp_path):
    good = publish(mirror, "part", b"good")
    good.path_in(mirror).write_bytes(b"evil")
    with pytest.raises(StoreError, match=r"part-1\.0\.jar arrived twice with another content"):
        fetch_jars(tmp_path / "jars", jars=(good,))
    assert [name for name in Quiet.asked if name.endswith(".jar")] == ["part-1.0.jar"] * 2
    assert not good.path_in(tmp_path / "jars").exists()


def test_a_jar_that_no_repository_has_is_named(mirror, tmp_path):
    with pytest.raises(StoreError, match=r"0 of the 1 jars.*gone-1\.0\.jar is not in the Maven repository"):
        fetch_jars(tmp_path / "jars", jars=(Jar("org.example", "gone", "1.0", "", "0" * 64),))


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_MAVEN", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"network connection.*THROUGHLINE_NEO4J_URI") as caught:
        fetch_jars(tmp_path / "jars", jars=(Jar("org.example", "part", "1.0", "", "0" * 64),))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_folder_that_cannot_be_written_is_named(mirror, tmp_path):
    (tmp_path / "file").touch()
    jars = (publish(mirror, "part", b"good"),)
    with pytest.raises(StoreError, match=r"file.*expected a place for Neo4j's jars.*THROUGHLINE_JARS"):
        fetch_jars(tmp_path / "file", jars=jars)


def test_the_lock_pins_every_jar_once_and_names_no_host():
    jars = read_lock()
    assert len(jars) == len(set(jars)) > 200
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert "://" not in LOCK_FILE.read_text(encoding="utf-8")
