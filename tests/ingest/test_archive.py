"""What an archive brings back over damaged graphs, and what its labels reach."""

import json

import pytest

from ingest.archive import backup, restore
from ingest.keep import remove_graph, verify
from ingest.labels import Label, LabelStore
from ingest.library import Library
from ingest.load import ingest_paths, keep_graph, relabel
from tests.ingest.made_graphs import make_graph
from tests.ingest.test_labels import labelled, shown
from tracer.errors import StoreError
from tracer.graph import EDGES_FILE, FILES, METADATA_FILE, NODES_FILE, AttributionGraph


@pytest.fixture
def graphs() -> list[AttributionGraph]:
    return [make_graph(seed) for seed in range(20, 22)]


def cut(library: Library, graph_id: str, name: str) -> None:
    """Damage a file of a kept graph."""
    hurt = f"{library.place(graph_id)}/{name}"
    with open(hurt, "rb+") as file:
        file.truncate(file.seek(0, 2) - 50)


@pytest.fixture
def marked_since(store, library, tmp_path) -> str:
    """A graph whose pins, groups and labels are others than in all.zip."""
    (first,) = ingest_paths([labelled(tmp_path, "a.json", "Texas", creator="Ann")], store, library)
    backup(library, tmp_path / "all.zip")
    later = labelled(tmp_path, "b.json", "the state", ["0_7_0"], [["group", "0_7_0"]], "Bob")
    assert [report.status for report in ingest_paths([later], store, library)] == ["updated"]
    return first.graph_id


def marks(library: Library, graph_id: str) -> dict:
    provenance = library.load(graph_id).metadata.provenance
    return {name: provenance[name] for name in ("pins", "supernodes", "taken")}


KEPT = {EDGES_FILE: ("marks", "label"), NODES_FILE: ("marks",), METADATA_FILE: ()}


@pytest.mark.parametrize("way", ["restore", "ingest"])
@pytest.mark.parametrize("name", FILES)
def test_what_can_be_read_of_a_damaged_graph_outlives_its_mending(name, way, store, library, marked_since, tmp_path):
    before = marks(library, marked_since)
    assert before["pins"] and before["supernodes"]
    cut(library, marked_since, name)
    if way == "restore":
        told = {each.graph_id: each.status for each in restore(tmp_path / "all.zip", store, library)}
        assert told[marked_since] == "updated"
    else:
        assert [report.status for report in ingest_paths([tmp_path / "a.json"], store, library)] == ["updated"]
    assert (marks(library, marked_since) == before) == ("marks" in KEPT[name])
    assert shown(library, marked_since)[0] == ("the state" if "label" in KEPT[name] else "Texas")
    assert list(verify(store, library)) == []


def test_over_a_damaged_graph_replacing_brings_what_the_archive_has(store, library, marked_since, tmp_path):
    cut(library, marked_since, EDGES_FILE)
    list(restore(tmp_path / "all.zip", store, library, replace=True))
    assert marks(library, marked_since)["pins"] == [] and shown(library, marked_since)[0] == "Texas"
    assert list(verify(store, library)) == []


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_graph_that_the_archive_lacks_is_named_and_stops_nothing(name, store, library, graphs, tmp_path):
    row = graphs[0].nodes[graphs[0].nodes["kept"]].iloc[0]
    edit = Label(int(row["layer"]), int(row["index"]), "edited", "edit", "me", "", "2026-01-02")
    LabelStore(library).add("set", [edit])
    relabel("set", store, library)
    backup(library, tmp_path / "all.zip")
    other = Library(tmp_path / "other")
    bystander, hurt = make_graph(22, max_index=1), make_graph(23)
    for graph in (bystander, hurt):
        keep_graph(graph, store, other)
    (tmp_path / "other" / hurt.graph_id / name).write_bytes(b"{" if name == METADATA_FILE else b"PAR1")
    told = {each.graph_id: each.status for each in restore(tmp_path / "all.zip", store, other)}
    assert told.pop(hurt.graph_id) == "damaged" and told.keys() == {graph.graph_id for graph in graphs}
    assert "edited" in set(other.load(graphs[0].graph_id).nodes["label"])


def test_a_replacing_that_was_cut_off_before_labels_were_shown_is_finished_by_the_next(
    store, library, tmp_path, monkeypatch
):
    first = labelled(tmp_path, "a.json", "Texas", ["0_7_0"])
    list(ingest_paths([first], store, library))
    backup(library, tmp_path / "all.zip")
    document = json.loads(first.read_text())
    document["links"][0] |= {"weight": 7.0}
    (tmp_path / "b.json").write_text(json.dumps(document))
    (outside,) = ingest_paths([tmp_path / "b.json"], store, library)
    LabelStore(library).add("model", [Label(0, 7, "edited", "edit", "me", "", "2026-01-02")])
    relabel("model", store, library)
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr("ingest.archive.relabel", lambda *_, **__: (_ for _ in ()).throw(StoreError("it is gone")))
        list(restore(tmp_path / "all.zip", store, library, replace=True))
    assert shown(library, outside.graph_id)[0] == "edited"
    list(restore(tmp_path / "all.zip", store, library, replace=True))
    assert shown(library, outside.graph_id)[0] == "Texas"
    assert LabelStore(library).unshown("model") == {} and list(verify(store, library)) == []


def test_restoring_into_an_empty_library_shows_no_label_twice(store, library, graphs, tmp_path, monkeypatch):
    row = graphs[0].nodes[graphs[0].nodes["kept"]].iloc[0]
    LabelStore(library).add("set", [Label(int(row["layer"]), int(row["index"]), "edited", "edit", "me")])
    relabel("set", store, library)
    backup(library, tmp_path / "all.zip")
    for graph in graphs:
        remove_graph(graph.graph_id, store, library)
    monkeypatch.setattr("ingest.archive.relabel", lambda *_, **__: pytest.fail("every graph came with its labels"))
    fresh = Library(tmp_path / "fresh")
    list(restore(tmp_path / "all.zip", store, fresh))
    assert LabelStore(fresh).unshown("set") == {} and list(verify(store, fresh)) == []
