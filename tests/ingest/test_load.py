"""Whole folders are taken in, one report for each graph, and one bad file never stops the rest."""

import json
import os
from pathlib import Path

import neo4j
import pytest

from ingest.bolt import Client
from ingest.library import Library
from ingest.load import graph_places, ingest_paths, keep_graph
from ingest.store import open_store
from tests.ingest.made_graphs import make_graph
from tracer.errors import StoreUnreachableError

NODES = [
    {"node_id": "E_5_0", "feature": 0, "layer": "E", "ctx_idx": 0, "feature_type": "embedding", "clerp": 'Emb: " x"'},
    {"node_id": "0_7_0", "feature": 35, "layer": "0", "ctx_idx": 0, "feature_type": "cross layer transcoder"},
    {"node_id": "3_9_0", "feature": 9, "layer": "3", "ctx_idx": 0, "feature_type": "logit", "token_prob": 0.5},
]
LINKS = [
    {"source": "E_5_0", "target": "0_7_0", "weight": 2.0},
    {"source": "0_7_0", "target": "3_9_0", "weight": -1.0},
    {"source": "E_5_0", "target": "3_9_0", "weight": 3.0},
]
ABOUT = {"slug": "published", "scan": "model", "prompt_tokens": [" x"], "prompt": " x"}
PUBLISHED = {"metadata": ABOUT, "qParams": {}, "nodes": NODES, "links": LINKS}


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def folder(tmp_path):
    """Two saved graphs, a published file, a file that is cut off, and one that is something else."""
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    make_graph(1).save(str(place / "one"))
    make_graph(2).save(str(place / "deep" / "two"))
    (place / "published.json").write_text(json.dumps(PUBLISHED))
    (place / "broken.json").write_text(json.dumps(PUBLISHED)[:100])
    (place / "other.json").write_text('{"name": "package"}')
    (place / "notes.txt").write_text("no graph")
    return place


def test_a_folder_is_taken_in_and_bad_files_are_reported(store, library, folder):
    told = []
    reports = list(ingest_paths([folder], store, library, lambda *step: told.append(step)))
    status = {report.path.removeprefix(str(folder)).strip("/\\"): report.status for report in reports}
    assert {name: state for name, state in status.items() if state == "ingested"}.keys() == {
        "one", "published.json", str(Path("deep", "two"))
    }  # fmt: skip
    assert status["broken.json"] == status["other.json"] == "refused" and len(status) == 5
    for report in reports:
        assert bool(report.reason) == (report.status == "refused")
        assert report.status != "refused" or report.path in report.reason or "json" in report.reason
    assert told[0][:2] == (0, 5) and told[-1][:2] == (5, 5)
    stored = {row["graph_id"] for row in store.graphs()}
    assert stored == set(library.ids()) == {report.graph_id for report in reports if report.graph_id}


def test_a_report_tells_what_the_graph_is(store, library, folder):
    (report,) = ingest_paths([folder / "one"], store, library)
    graph = make_graph(1)
    assert (report.graph_id, report.slug, report.nodes, report.edges) == (
        graph.graph_id, "made-1", len(graph.nodes), len(graph.edges)
    )  # fmt: skip


def test_a_report_counts_nodes_links_and_repairs_by_kind(library, tmp_path):
    path = tmp_path / "published.json"
    path.write_text(json.dumps(PUBLISHED | {"links": [*LINKS, LINKS[0], {**LINKS[0], "target": "9_9_9"}]}))
    (report,) = ingest_paths([path], None, library)
    assert report.nodes_by_kind == {"token": 1, "feature": 1, "logit": 1}
    assert report.edges_by_kind == {"token -> feature": 1, "feature -> logit": 1, "token -> logit": 1}
    assert report.repairs == {"duplicate_links": 1, "dangling_links": 1}
    (strict,) = ingest_paths([path], None, library, strict=True)
    assert strict.status == "refused" and "1 dangling_links" in strict.reason


def test_a_dry_run_foresees_every_status_and_changes_nothing(store, library, folder):
    foreseen = list(ingest_paths([folder], None, library))
    assert not library.ids() and not store.graphs() and not Path(library.root).exists()
    assert foreseen == list(ingest_paths([folder], store, library))
    before = sorted(Path(library.root).rglob("*"))
    assert {report.status for report in ingest_paths([folder], None, library)} == {"unchanged", "refused"}
    (folder / "published.json").write_text(json.dumps(PUBLISHED | {"qParams": {"pinnedIds": ["0_7_0"]}}))
    (report,) = ingest_paths([folder / "published.json"], None, library)
    assert report.status == "updated" and sorted(Path(library.root).rglob("*")) == before


def test_taking_in_again_changes_nothing(store, library, folder):
    list(ingest_paths([folder], store, library))
    before = store.schema_counts()
    assert {report.status for report in ingest_paths([folder], store, library)} == {"unchanged", "refused"}
    assert store.schema_counts() == before


def test_a_graph_kept_but_not_stored_is_finished_by_doing_it_again(store, library, folder):
    graph = make_graph(1)
    library.add(graph)  # as a crash between library and database leaves it
    assert not store.has(graph.graph_id)
    (report,) = ingest_paths([folder / "one"], store, library)
    assert report.status == "ingested" and store.has(graph.graph_id)


def test_a_graph_stored_but_not_kept_gets_its_file(store, library, folder):
    graph = make_graph(1)
    store.add(graph)
    (report,) = ingest_paths([folder / "one"], store, library)
    assert report.status == "ingested" and graph.graph_id in library


def test_other_labels_and_pins_on_the_same_graph_take_their_place(store, library, tmp_path):
    file = tmp_path / "labelled.json"
    for label, pins, status in (
        ("old", [], "ingested"),
        ("new", ["0_7_0"], "updated"),
        ("new", ["0_7_0"], "unchanged"),
    ):
        labelled = NODES[1] | {"clerp": label}
        file.write_text(
            json.dumps(PUBLISHED | {"nodes": [labelled, NODES[0], NODES[2]], "qParams": {"pinnedIds": pins}})
        )
        (report,) = ingest_paths([file], store, library)
        assert report.status == status
    kept = library.load(report.graph_id)
    assert kept.nodes["label"][0] == "new" and kept.metadata.provenance["pins"] == ["0_7_0"]
    found = store.cypher(
        "MATCH (n:Node {node_id: '0_7_0'})<-[e:AFFECTS]-() RETURN n.label AS label, e.effect AS effect"
    )
    assert found.records == [{"label": "new", "effect": 2.0}]
    (feature,) = store.run("labels_search", text="new").records
    assert feature["label"] == "new" and not store.run("labels_search", text="old").records


def test_an_update_that_was_cut_off_before_the_database_is_finished_by_doing_it_again(store, library, monkeypatch):
    graph, renamed = make_graph(1), make_graph(1, prompt="another prompt")
    assert renamed.graph_id == graph.graph_id
    keep_graph(graph, store, library)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store, "add", interrupted)
        keep_graph(renamed, store, library)
    assert library.load(graph.graph_id).metadata.prompt == "another prompt"
    assert [row["prompt"] for row in store.graphs()] == [graph.metadata.prompt]
    assert [keep_graph(renamed, store, library) for _ in range(2)] == ["updated", "unchanged"]
    assert [row["prompt"] for row in store.graphs()] == ["another prompt"]


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("depth", [200, 900])
@pytest.mark.parametrize("dry", [True, False])
def test_what_a_file_says_of_itself_may_not_be_nested_too_deep(store, library, folder, depth, dry):
    deep = json.loads(json.dumps(PUBLISHED))
    deep["metadata"]["info"] = {"creator_name": "x", "more": json.loads("[" * depth + "]" * depth)}
    (folder / "deep.json").write_text(json.dumps(deep))
    reports = {Path(each.path).name: each for each in ingest_paths([folder], None if dry else store, library)}
    assert len(reports) == 6 and reports["published.json"].status == "ingested"
    assert reports["deep.json"].status == "refused" and "deep; expected at most 100" in reports["deep.json"].reason


def test_a_path_that_is_not_there_is_refused_with_its_name(store, library, tmp_path):
    (report,) = ingest_paths([tmp_path / "nowhere.json"], store, library)
    assert report.status == "refused" and "nowhere.json" in report.reason and "expected" in report.reason


@pytest.mark.parametrize("name", ["m" * 40_000, "é" * 100], ids=["long", "long in UTF-8"])
def test_a_dictionary_whose_name_no_file_can_have_is_refused_before_anything_is_kept(store, library, tmp_path, name):
    make_graph(1, source_set=name).save(str(tmp_path / "g"))
    for given in (store, None):
        (report,) = ingest_paths([tmp_path / "g"], given, library)
        assert report.status == "refused" and "has a name of" in report.reason and "Shorten it" in report.reason
    assert library.ids() == [] and store.graphs() == []


def test_a_damaged_saved_graph_is_refused(store, library, folder):
    (folder / "one" / "edges.parquet").write_bytes(b"PAR1 no more PAR1")
    (report,) = ingest_paths([folder / "one"], store, library)
    assert report.status == "refused" and not store.graphs() and not library.ids()


def test_a_database_that_is_gone_stops_and_says_so(store, library, folder, monkeypatch):
    gone = open_store()
    gone.close()
    monkeypatch.setattr(gone, "_client", Unreachable(store.connection))
    with pytest.raises(StoreUnreachableError, match="does not answer"):
        list(ingest_paths([folder / "one"], gone, library))
    assert library.ids() == [make_graph(1).graph_id]


class Unreachable(Client):
    """A client whose server has gone: nobody listens where it was."""

    def __init__(self, connection):
        super().__init__(connection)
        self._driver.close()
        self._driver = neo4j.GraphDatabase.driver("bolt://127.0.0.1:1", auth=("neo4j", "x"))


def test_places_come_in_order_and_hold_only_what_can_be_a_graph(folder):
    names = [str(Path(str(place)).relative_to(folder)) for place in graph_places(folder)]
    assert names == ["broken.json", "other.json", "published.json", str(Path("deep", "two")), "one"]


def test_a_name_that_is_not_utf8_is_shown_with_question_marks_and_stops_no_other(store, library, tmp_path):
    place = tmp_path / "in"
    odd = place / os.fsdecode(b"d\xff")
    try:
        odd.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    labelled = [NODES[0], NODES[1] | {"clerp": "seven"}, NODES[2]]
    (odd / os.fsdecode(b"bad\xfe.json")).write_text(json.dumps(PUBLISHED | {"nodes": labelled}))
    (odd / "broken.zip").write_bytes(b"PK")
    make_graph(1).save(str(odd / "saved"))
    (odd / "saved" / "edges.parquet").write_bytes(b"no table")
    (place / "good.json").write_text(json.dumps(PUBLISHED))
    told: list[str] = []
    reports = list(ingest_paths([place], store, library, lambda done, total, what: told.append(what)))
    assert [(report.path.removeprefix(f"{place}{os.sep}"), report.status) for report in reports] == [
        ("good.json", "ingested"), (str(Path("d?", "bad?.json")), "updated"),
        (str(Path("d?", "broken.zip")), "refused"), (str(Path("d?", "saved")), "refused"),
    ]  # fmt: skip
    json.dumps([vars(report) for report in reports], ensure_ascii=False).encode()
    assert "loading bad?.json" in told
    assert library.load(reports[1].graph_id).nodes["label_note"].iloc[0].startswith("from bad?.json")


def test_links_are_followed_but_no_folder_or_file_comes_twice(tmp_path):
    place, elsewhere = tmp_path / "above" / "in", tmp_path / "elsewhere"
    for folder in (place / "deep", elsewhere):
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.json").write_text("{}")
    for name, target in (("a", place), ("b", place), ("c", tmp_path), ("d", elsewhere), ("e", elsewhere)):
        (place / name).symlink_to(target)
    (place / "deep" / "a.json").symlink_to("deep.json")
    (place / "deep" / "up").symlink_to("..")
    names = [str(Path(str(found)).relative_to(place)) for found in graph_places(place)]
    assert names == [str(Path("deep", "deep.json")), str(Path("d", "elsewhere.json"))]
    (through,) = graph_places(place / "d")
    assert through == place / "d" / "elsewhere.json"


@pytest.mark.parametrize("name", ["gone.json", "gone"])
def test_a_link_that_leads_nowhere_is_refused(library, tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / "round.json").symlink_to("round.json")
    reports = list(ingest_paths([tmp_path / "in"], None, library))
    assert len(reports) == 2 and all("nothing is there" in report.reason for report in reports)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe.json", "pipe.zip"])
def test_a_named_pipe_is_refused_and_not_waited_for(library, tmp_path, name):
    os.mkfifo(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        (report,) = ingest_paths([path], None, library)
        assert report.status == "refused" and f"{name}: is no file" in report.reason


def test_graphs_below_a_saved_graph_are_found(folder):
    make_graph(3).save(str(folder / "one" / "inside"))
    names = [str(Path(str(place)).relative_to(folder)) for place in graph_places(folder)]
    assert names[-2:] == ["one", str(Path("one", "inside"))]
