"""Labels of features: all are kept with whose they are, one is shown by a rule, and each is text, whatever it says."""

import dataclasses
import json
import threading
from pathlib import Path

import pytest

from ingest.keep import verify
from ingest.labels import Label, LabelStore, label_rows, labels_in, now, read_labels, write_labels
from ingest.library import Library
from ingest.load import ingest_paths, keep_graph, relabel
from ingest.writers import write_graph
from tests.ingest.made_graphs import make_graph
from tests.ingest.test_load import LINKS, NODES, PUBLISHED
from tracer.errors import GraphFormatError, StoreError
from tracer.schema import NodeKind

ODD_TEXTS = [
    "<script>alert(1)</script><b>Texas</b>", "'}) MATCH (n) DETACH DELETE n //", 'a "quoted", and\\back',
    "bell \x07, null \x00, next \x85, line \u2028 break\nand\r\ntab\t", "\u202eright to left\u202c", "🤠 {braces} [/b]",
    "x" * 100_000,
]  # fmt: skip


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


def labelled(tmp_path, name, label, pins=(), supernodes=(), creator=None):
    """A published file in which feature 0/7 has this label."""
    about = PUBLISHED["metadata"] | ({"info": {"creator_name": creator}} if creator else {})
    document = PUBLISHED | {
        "metadata": about,
        "nodes": [NODES[0], NODES[1] | {"clerp": label}, NODES[2]],
        "links": LINKS,
        "qParams": {"pinnedIds": list(pins), "supernodes": list(supernodes)},
    }
    path = tmp_path / name
    path.write_text(json.dumps(document))
    return path


def shown(library, graph_id):
    graph = library.load(graph_id)
    row = graph.row_of("0_7_0")
    return graph.nodes["label"].iloc[row], graph.nodes["label_note"].iloc[row]


def test_two_files_of_one_graph_keep_both_labels_and_taking_them_in_again_changes_nothing(store, library, tmp_path):
    files = [labelled(tmp_path, "a.json", "old", creator="Ann"), labelled(tmp_path, "b.json", "new", creator="Bob")]
    first = list(ingest_paths(files, store, library))
    assert [report.status for report in first] == ["ingested", "updated"]
    for again in range(2):
        assert {report.status for report in ingest_paths(files[:: 1 if again else -1], store, library)} == {"unchanged"}
    kept = LabelStore(library).of("model")
    assert [(each.label, each.by, each.graph_id, each.kind) for each in kept] == [
        ("old", "Ann", first[0].graph_id, "graph"), ("new", "Bob", first[0].graph_id, "graph"),
    ]  # fmt: skip
    assert all(each.when for each in kept)
    assert shown(library, first[0].graph_id)[0] == "new"


def test_pins_and_supernodes_of_two_files_are_kept_with_whose_they_are(store, library, tmp_path):
    files = [
        labelled(tmp_path, "a.json", "x", ["0_7_0"], [["group", "0_7_0"]], "Ann"),
        labelled(tmp_path, "b.json", "x", ["E_5_0"], [["other", "E_5_0"]], "Bob"),
    ]
    reports = list(ingest_paths(files, store, library))
    provenance = library.load(reports[0].graph_id).metadata.provenance
    assert provenance["pins"] == ["0_7_0", "E_5_0"]
    assert [group["label"] for group in provenance["supernodes"]] == ["group", "other"]
    assert [(each["by"], each["file"], each["pins"]) for each in provenance["taken"]] == [
        ("Ann", "a.json", ["0_7_0"]), ("Bob", "b.json", ["E_5_0"]),
    ]  # fmt: skip
    assert all(each["read_at"] for each in provenance["taken"])


def test_a_file_without_a_label_takes_none_away(store, library, tmp_path):
    files = [labelled(tmp_path, "a.json", "Texas"), labelled(tmp_path, "b.json", "")]
    reports = list(ingest_paths(files, store, library))
    assert [report.status for report in reports] == ["ingested", "unchanged"]
    assert shown(library, reports[0].graph_id)[0] == "Texas"


def test_an_edit_goes_before_the_graphs_label_which_goes_before_an_import(store, library, tmp_path):
    labels = LabelStore(library)
    bare, own = labelled(tmp_path, "bare.json", ""), labelled(tmp_path, "own.json", "of the graph")
    (report,) = ingest_paths([bare], store, library)
    labels.add("model", [Label(0, 7, "of a table", "import", "Ann", "", now())])
    assert relabel("model", store, library) == [report.graph_id]
    assert shown(library, report.graph_id) == ("of a table", f"imported from Ann, {now()[:10]}")
    assert [each.status for each in ingest_paths([own], store, library)] == ["updated"]
    assert shown(library, report.graph_id)[0] == "of the graph"
    edits = [("edited", now()), ("first edit", "2026-01-01")]  # an older one may come later, as from an archive
    labels.add("model", [Label(0, 7, text, "edit", "me", "", when) for text, when in edits])
    assert relabel("model", store, library) == [report.graph_id]
    assert shown(library, report.graph_id)[0] == "edited"
    assert {each.status for each in ingest_paths([own, bare], store, library)} == {"unchanged"}
    found = store.cypher("MATCH (n:Node {node_id: '0_7_0'}) RETURN n.label AS label").records
    assert found == [{"label": "edited"}]
    assert len(labels.of("model")) == 4 and relabel("model", store, library) == []


def test_an_edit_reaches_every_graph_and_the_search_and_leaves_all_else_as_it_was(store, library):
    first, second = (make_graph(seed, max_index=2) for seed in (1, 2))
    for graph in (first, second):
        keep_graph(graph, store, library)
    features = [graph.nodes[graph.slice_of(NodeKind.FEATURE)] for graph in (first, second)]
    places = [set(zip(rows["layer"][rows["kept"]], rows["index"][rows["kept"]], strict=True)) for rows in features]
    layer, index = (int(number) for number in min(places[0] & places[1]))
    before = {graph.graph_id: store.stored_edges(graph.graph_id) for graph in (first, second)}
    sums, version = store.sums_of_features(), {row["graph_id"]: row["ingested_at"] for row in store.graphs()}
    LabelStore(library).add("set", [Label(layer, index, "unheard of", "edit", "me", "", now())])
    told = []
    assert relabel("set", store, library, lambda *given: told.append(given)) == sorted(before)
    assert told[-1] == (2, 2, "showing labels")
    (found,) = store.run("labels_search", text="unheard").records
    assert (found["layer"], found["index"], found["graphs"]) == (layer, index, 2)
    rows = store.run("feature_prompts", source_set="set", layer=layer, index=index).records
    assert {(row["label"], row["label_note"]) for row in rows} == {("unheard of", f"edited by me, {now()[:10]}")}
    assert {graph_id: store.stored_edges(graph_id) for graph_id in before} == before
    assert store.sums_of_features() == sums and not list(verify(store, library))
    assert all(row["ingested_at"] > version[row["graph_id"]] for row in store.graphs())  # pages read it anew
    assert relabel("set", store, library) == []


def test_a_relabelling_that_was_cut_off_is_finished_by_the_next(store, library, monkeypatch):
    graph = make_graph(1)
    keep_graph(graph, store, library)
    row = graph.nodes[graph.nodes["kept"]].iloc[0]
    LabelStore(library).add("set", [Label(int(row["layer"]), int(row["index"]), "later", "edit", "me", "", now())])
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(store, "set_labels", lambda _: (_ for _ in ()).throw(StoreError("the server is gone")))
        relabel("set", store, library)
    assert relabel("set", store, library) == [graph.graph_id]
    assert not list(verify(store, library))


def test_what_was_edited_or_imported_comes_into_another_library_by_its_author(store, library, tmp_path):
    given = labelled(tmp_path, "a.json", "of the graph", creator="Ann")
    (report,) = ingest_paths([given], store, library)
    LabelStore(library).add("model", [Label(0, 7, "Texas, of course", "edit", "Bob", "", "2026-01-02T00:00:00+00:00")])
    relabel("model", store, library)
    library.load(report.graph_id).save(str(tmp_path / "saved"))
    before = LabelStore(library).of("model")
    list(ingest_paths([tmp_path / "saved"], store, library))  # at home it is an edit, and nothing else
    assert LabelStore(library).of("model") == before
    other = Library(tmp_path / "other")
    list(ingest_paths([tmp_path / "saved"], store, other))
    assert LabelStore(other).of("model") == [
        Label(0, 7, "Texas, of course", "graph", "Bob", report.graph_id, "2026-01-02")
    ]
    assert shown(other, report.graph_id) == ("Texas, of course", "edited by Bob, 2026-01-02")


def test_labels_of_one_graph_are_not_shown_in_another_unasked(store, library, tmp_path):
    (one,) = ingest_paths([labelled(tmp_path, "a.json", "Texas")], store, library)
    other = labelled(tmp_path, "other.json", "")
    other.write_text(other.read_text().replace('"weight": 2.0', '"weight": 4.0'))
    (two,) = ingest_paths([other], store, library)
    assert one.graph_id != two.graph_id and shown(library, two.graph_id)[0] == ""


def test_a_feature_with_several_labels_in_one_graph_keeps_each_once():
    graph = make_graph(1, n_features=40)
    graph = dataclasses.replace(graph, nodes=graph.nodes.assign(layer=0, index=1))  # a dictionary may label by place
    expected = {text for text in graph.nodes["label"][graph.slice_of(NodeKind.FEATURE)] if text}
    assert sorted(each.label for each in labels_in(graph)) == sorted(expected) and len(expected) > 1


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_labels_survive_export_and_import_whatever_they_say(library, tmp_path, ending):
    labels = LabelStore(library)
    given = [Label(1, at, text, "import", "Ann", "", now()) for at, text in enumerate(ODD_TEXTS)]
    assert labels.add("model/set", given) == len(given)
    assert labels.add("model/set", given) == 0
    assert [each.label for each in labels.of("model/set")] == ODD_TEXTS
    path = tmp_path / f"labels.{ending}"
    assert write_labels(path, label_rows(labels)) == len(given)
    other = LabelStore(Library(tmp_path / "other"))
    for source_set, label in read_labels(path):
        other.add(source_set, [label])
    assert [(each.layer, each.index, each.label, each.by) for each in other.of("model/set")] == [
        (each.layer, each.index, each.label, each.by) for each in given
    ]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_an_odd_label_goes_through_files_and_store_as_text(store, library, tmp_path, text):
    (report,) = ingest_paths([labelled(tmp_path, "odd.json", text)], store, library)
    assert report.status == "ingested", report.reason
    assert shown(library, report.graph_id)[0] == text.strip()
    found = store.cypher("MATCH (n:Node {node_id: '0_7_0'}) RETURN n.label AS label").records
    assert found == [{"label": text.strip()}] and len(store.graphs()) == 1
    write_graph(library.load(report.graph_id), tmp_path / "again.json", "json")
    (again,) = ingest_paths([tmp_path / "again.json"], store, library)
    assert again.graph_id == report.graph_id and shown(library, again.graph_id)[0] == text.strip()


@pytest.mark.parametrize("name", ["../../out", "a/b", "..", "C:\\x", "set.with.dots", "\u202ename", "x" * 60])
def test_the_name_of_a_dictionary_cannot_leave_the_folder(library, tmp_path, name):
    labels = LabelStore(library)
    labels.add(name, [Label(0, 1, "x", "edit")])
    assert labels.source_sets() == [name] and labels.of(name)[0].label == "x"
    assert {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()} == {
        ("library", "labels")
    }


def test_many_writers_at_once_lose_nothing(library):
    def write(number):
        LabelStore(library).add("m", [Label(number, at, "x", "edit") for at in range(20)])

    threads = [threading.Thread(target=write, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(LabelStore(library).of("m")) == 120


def test_a_damaged_file_of_labels_is_told_and_left_as_it_is(library, store):
    labels = LabelStore(library)
    labels.add("set", [Label(0, 1, "x", "edit")])
    (path,) = Path(library.root).rglob("*.jsonl")
    path.write_text('{"layer": 0}\n')
    with pytest.raises(GraphFormatError, match="not labels"):
        labels.of("set")
    with pytest.raises(GraphFormatError, match="not labels"):
        keep_graph(make_graph(1), store, library)
    assert path.read_text() == '{"layer": 0}\n'


def test_no_room_for_labels_is_told(library, monkeypatch):
    labels = LabelStore(library)
    labels.add("set", [Label(0, 1, "x", "edit")])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(labels, "_write", full)
    with pytest.raises(StoreError, match="No space left"):
        labels.add("set", [Label(0, 2, "x", "edit")])
    assert len(labels.of("set")) == 1


@pytest.mark.parametrize(
    "text, said",
    [
        ("source_set,layer,index,label\nm,1,x,Texas\n", "row 1 cannot be used"),
        ("source_set,layer,index,label\nm,1,2,\n", "row 1 cannot be used (an empty value)"),
        ("source_set,layer,index,label\nm,-1,2,Texas\n", "row 1 cannot be used"),
        ("layer,index,label\n1,2,Texas\n", "row 1 cannot be used ('source_set')"),
    ],
)
def test_a_table_that_lacks_something_is_refused_with_the_row(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(GraphFormatError) as refused:
        list(read_labels(path))
    assert said in str(refused.value) and "expected source_set, layer, index and label" in str(refused.value)


def test_the_shared_table_names_model_and_set_with_a_colon(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("source_set,layer,feature_index,label,n_occurrences\ngemma-2-2b:clt-hp,20,15589,Texas,3\n")
    ((source_set, label),) = read_labels(path)
    assert (source_set, label.feature, label.label, label.by) == (
        "gemma-2-2b/clt-hp",
        (20, 15589),
        "Texas",
        "labels.csv",
    )
