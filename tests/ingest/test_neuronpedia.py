"""Labels fetched from a local server that answers as Neuronpedia's documentation says."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest

from ingest import neuronpedia
from ingest.library import Library
from ingest.neuronpedia import Neuronpedia, unlabelled_features
from tests.ingest.made_graphs import make_graph
from tracer.errors import CircuitError, GraphFormatError, SettingError


class Server(ThreadingHTTPServer):
    """What it was asked, what it is to answer, and where it is."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Site)
        self.asked: list[tuple[float, str, str | None]] = []
        self.statuses: list[int] = []
        self.broken: list[bytes] = []
        self.body: Any = None
        self.address = f"http://127.0.0.1:{self.server_port}"


class Site(BaseHTTPRequestHandler):
    """GET /api/feature/{model}/{layer}-{set}/{index}, as documented; features below 100 exist."""

    server: Server

    def do_GET(self):
        self.server.asked.append((time.monotonic(), self.path, self.headers.get("x-api-key")))
        if self.server.broken:
            self.wfile.write(self.server.broken.pop(0))
            return
        *_, model, source, index = self.path.split("/")
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200 and int(index) >= 100:
            status = 404
        body = self.server.body or {
            "modelId": model, "layer": source, "index": index, "activations": [], "frac_nonzero": 0.1,
            "explanations": [
                {"description": f"meaning of {index}", "explanationModelName": "gpt-4o-mini"},
                {"description": " ", "explanationModelName": "empty"},
                {"description": "another", "explanationModelName": None},
            ],
        }  # fmt: skip
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_each_explanation_is_a_label_with_whose_it_is(site, tmp_path):
    found = list(Neuronpedia(site.address, tmp_path, 0).labels("gemma-2-2b/clt-hp", [(20, 15), (3, 7)]))
    assert [(each.layer, each.index, each.label, each.by, each.kind) for each in found] == [
        (20, 15, "meaning of 15", "Neuronpedia, gpt-4o-mini", "import"), (20, 15, "another", "Neuronpedia", "import"),
        (3, 7, "meaning of 7", "Neuronpedia, gpt-4o-mini", "import"), (3, 7, "another", "Neuronpedia", "import"),
    ]  # fmt: skip
    assert [path for _, path, _ in site.asked] == [
        "/api/feature/gemma-2-2b/20-clt-hp/15", "/api/feature/gemma-2-2b/3-clt-hp/7",
    ]  # fmt: skip


def test_what_was_asked_once_is_not_asked_again(site, tmp_path):
    features = [(1, 5), (1, 500)]  # the second does not exist, which is an answer, too
    first = list(Neuronpedia(site.address, tmp_path, 0).labels("m/set", features))
    again = list(Neuronpedia(site.address, tmp_path, 0).labels("m/set", features))
    assert [each.label for each in again] == [each.label for each in first] == ["meaning of 5", "another"]
    assert len(site.asked) == 2


def test_there_is_a_pause_between_requests(site, tmp_path):
    list(Neuronpedia(site.address, tmp_path, 0.2).labels("m/set", [(1, at) for at in range(4)]))
    times = [at for at, *_ in site.asked]
    assert all(later - earlier > 0.15 for earlier, later in pairwise(times))


def test_a_key_is_sent_where_there_is_one(site, tmp_path, monkeypatch):
    monkeypatch.delenv("NEURONPEDIA_API_KEY", raising=False)
    list(Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 1)]))
    monkeypatch.setenv("NEURONPEDIA_API_KEY", "secret")
    list(Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 2)]))
    assert [key for *_, key in site.asked] == [None, "secret"]


def test_the_limit_of_the_site_stops_it_and_what_came_before_counts(site, tmp_path):
    site.statuses = [200, 429]
    labels = Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 1), (1, 2)])
    assert [next(labels).label, next(labels).label] == ["meaning of 1", "another"]
    with pytest.raises(CircuitError, match="wants no more requests now"):
        next(labels)
    assert len(site.asked) == 2  # asked no further


def test_a_moment_of_failure_is_waited_out_and_a_longer_one_told(site, tmp_path):
    site.statuses = [502, 503, 200]
    assert len(list(Neuronpedia(site.address, tmp_path, 0.01).labels("m/set", [(1, 1)]))) == 2
    site.statuses = [502] * neuronpedia.TIMES
    with pytest.raises(CircuitError, match="it answers 502"):
        list(Neuronpedia(site.address, tmp_path, 0.01).labels("m/set", [(1, 2)]))


@pytest.mark.parametrize("body", [b"<html>", b"[" * 10**5, {"message": "x"}, [1], {"explanations": "none"}])
def test_an_answer_of_another_form_is_told_and_not_remembered(site, tmp_path, body):
    site.body = body
    with pytest.raises(CircuitError, match="expected") as refused:
        list(Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 1)]))
    assert isinstance(refused.value, GraphFormatError) or "no JSON" in str(refused.value)
    site.body = None
    assert len(list(Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 1)]))) == 2


BROKEN = {
    "no HTTP": b"GARBAGE\r\n\r\n",
    "a chunk without a length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "a body cut short": b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"explanations": []}',
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_is_asked_for_again_and_told_where_it_stays_broken(site, tmp_path, answer):
    site.broken = [answer]
    assert len(list(Neuronpedia(site.address, tmp_path, 0.01).labels("m/set", [(1, 1)]))) == 2 == len(site.asked)
    site.broken = [answer] * neuronpedia.TIMES
    with pytest.raises(CircuitError, match=r"a broken answer .*; expected an answer of Neuronpedia"):
        list(Neuronpedia(site.address, tmp_path, 0.01).labels("m/set", [(1, 2)]))


def test_half_a_character_becomes_a_question_mark(site, tmp_path):
    site.body = {"explanations": [{"description": "\ud800half", "explanationModelName": "\udfff"}]}
    for _ in ("asked", "remembered"):
        (label,) = Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 1)])
        assert (label.label, label.by) == ("?half", "Neuronpedia, ?")


@pytest.mark.parametrize(
    "kept", [b"", b"{", b"null", b'{"a":1}', b"\xff", b"[1]", b"[[1, 2]]", b'[["x"]]', b"[" * 10**5]
)
def test_a_damaged_file_of_what_was_asked_is_asked_for_again_and_written_anew(site, tmp_path, kept):
    expected = [each.label for each in Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 1)])]
    (path,) = tmp_path.rglob("1.json")
    path.write_bytes(kept)
    for _ in range(2):
        assert [each.label for each in Neuronpedia(site.address, tmp_path, 0).labels("m/set", [(1, 1)])] == expected
    assert len(site.asked) == 2 and [path] == [each for each in tmp_path.rglob("*") if each.is_file()]


def test_a_site_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CircuitError, match="expected an answer of Neuronpedia"):
        list(Neuronpedia("http://127.0.0.1:1", tmp_path, 0).labels("m/set", [(1, 1)]))


@pytest.mark.parametrize("name", ["clt-hp", "a/b/c", "/x", "x/"])
def test_a_dictionary_of_another_form_is_refused_before_anything_is_asked(name, tmp_path):
    with pytest.raises(SettingError, match="is no dictionary of Neuronpedia; expected model/set"):
        list(Neuronpedia("http://127.0.0.1:1", tmp_path, 0).labels(name, [(1, 1)]))


def test_ids_cannot_leave_the_folder_of_answers(site, tmp_path):
    list(Neuronpedia(site.address, tmp_path / "cache", 0).labels("..\\x/..", [(1, 1)]))
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} == {"cache"}


def test_features_without_a_label_are_asked_for_the_most_frequent_first(tmp_path):
    library = Library(tmp_path)
    graphs = [make_graph(seed, n_features=60, max_index=20, kept=1.0) for seed in range(6)]
    for graph in graphs:
        library.add(graph)
    times: dict[tuple[int, int], int] = {}
    for graph in graphs:
        nodes = graph.nodes[(graph.nodes["kind"] == "feature") & (graph.nodes["label"] == "")]
        for feature in set(zip(nodes["layer"], nodes["index"], strict=True)):
            times[feature] = times.get(feature, 0) + 1
    found = unlabelled_features("set", library)
    assert set(found) == set(times) and found
    assert [times[feature] for feature in found] == sorted(times.values(), reverse=True)
    assert unlabelled_features("another", library) == []
