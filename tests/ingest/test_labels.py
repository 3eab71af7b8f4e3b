"""Labels of features: all are kept with whose they are, one is shown by a rule, and each is text, whatever it says."""

import dataclasses
import json
import tempfile
import threading
from datetime import date, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ingest.keep import PRIME, verify
from ingest.labels import Kind, Label, LabelStore, label_rows, labels_in, now, read_labels, write_labels
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
    sums, version = store.sums_of_features(PRIME), {row["graph_id"]: row["ingested_at"] for row in store.graphs()}
    LabelStore(library).add("set", [Label(layer, index, "unheard of", "edit", "me", "", now())])
    told = []
    assert relabel("set", store, library, lambda *given: told.append(given)) == sorted(before)
    assert told[-1] == (2, 2, "showing labels")
    (found,) = store.run("labels_search", text="unheard").records
    assert (found["layer"], found["index"], found["graphs"]) == (layer, index, 2)
    rows = store.run("feature_prompts", source_set="set", layer=layer, index=index).records
    assert {(row["label"], row["label_note"]) for row in rows} == {("unheard of", f"edited by me, {now()[:10]}")}
    assert {graph_id: store.stored_edges(graph_id) for graph_id in before} == before
    assert store.sums_of_features(PRIME) == sums and not list(verify(store, library))
    assert all(row["ingested_at"] > version[row["graph_id"]] for row in store.graphs())  # pages read it anew
    assert relabel("set", store, library) == []


def test_an_entry_never_shows_a_label_that_none_of_its_nodes_has(store, library):
    """Neither after an edit that was taken back, nor when the graph that named it is gone."""
    first, second = (make_graph(seed, max_index=2) for seed in (1, 2))
    second.nodes["label"] = [f"{label} in the second" if label else "" for label in second.nodes["label"]]
    for graph in (first, second):
        keep_graph(graph, store, library)
    features = first.nodes.query("kind == 'feature' and kept")
    layer, index = (int(features[name].to_numpy()[0]) for name in ("layer", "index"))
    for text in ("edited", ""):
        LabelStore(library).add("set", [Label(layer, index, text, "edit", "me", "", now())])
        relabel("set", store, library)
        assert not list(verify(store, library))
    store.remove(first.graph_id)
    library.remove(first.graph_id)
    assert not list(verify(store, library))
    labels = store.cypher("MATCH (f:Feature) RETURN collect(DISTINCT f.label) AS labels").records[0]["labels"]
    assert labels and all("second" in label for label in labels if label)


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


PAST = some.dates(max_value=date(2026, 1, 1)) | some.datetimes(max_value=datetime(2026, 1, 1))
MOMENTS = PAST.map(lambda at: f"{at.isoformat(timespec='seconds')}+00:00" if isinstance(at, datetime) else f"{at}")


@some.composite
def odd_labels(draw: some.DrawFn) -> Label:
    kind: Kind = draw(some.sampled_from(get_args(Kind)))
    text = draw(some.sampled_from(ODD_TEXTS) | (some.text() if kind == "edit" else some.text().filter(str.strip)))
    graph_id = draw(some.text("0123456789abcdef", min_size=16, max_size=16)) if kind == "graph" else ""
    place = draw(some.integers(0, 3)), draw(some.integers(0, 1 << 40))
    return Label(*place, text, kind, draw(some.text(min_size=1)), graph_id, draw(MOMENTS))


@settings(max_examples=60)
@given(some.dictionaries(some.text(min_size=1, max_size=12), some.lists(odd_labels(), min_size=1), max_size=3))
def test_labels_come_back_from_a_table_as_they_were_and_at_home_it_adds_none(told):
    with tempfile.TemporaryDirectory() as folder:
        ours = LabelStore(Library(f"{folder}/ours"))
        for name, labels in told.items():
            ours.add(name, labels)
        rows = list(label_rows(ours))
        for ending in ("csv", "jsonl"):
            path = Path(folder, f"labels.{ending}")
            assert write_labels(path, rows) == len(rows)
            theirs = LabelStore(Library(f"{folder}/{ending}"))
            for name, label in read_labels(path):
                assert theirs.add(name, [label]) == 1
                assert ours.add(name, [label]) == 0
            assert list(label_rows(theirs)) == rows


def test_an_edit_made_in_a_time_to_come_counts_as_made_now_or_none_could_go_before_it(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("source_set,layer,index,label,kind,when\nm,1,2,x,edit,9999-12-31\nm,1,2,y,edit,2026-01-02T03:04Z\n")
    before = now()
    whens = [label.when for _, label in read_labels(path)]
    assert before <= whens[0] <= now() and whens[1] == "2026-01-02T03:04:00+00:00"  # all in one form: they are sorted


def test_the_day_in_a_note_that_never_was_or_is_to_come_is_that_on_which_the_label_came():
    graph = make_graph(1)
    for day in ("2026-02-30", "9999-12-31"):
        told = dataclasses.replace(graph, nodes=graph.nodes.assign(label_note=f"edited by Ann, {day}"))
        assert {each.when[:10] for each in labels_in(told)} == {now()[:10]}


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


OURS = "source_set,layer,index,label,kind,by,graph_id,when\n"


@pytest.mark.parametrize(
    "text, said",
    [
        ("source_set,layer,index,label\nm,1,x,Texas\n", "row 1 cannot be used"),
        ("source_set,layer,index,label\nm,1,2,\n", "row 1 cannot be used (an empty value)"),
        ("source_set,layer,index,label\nm,-1,2,Texas\n", "row 1 cannot be used"),
        ("layer,index,label\n1,2,Texas\n", "row 1 cannot be used ('source_set')"),
        (f"{OURS}m,1,2,x,edit,me,,\nm,1,2,x,Edit,me,,\n", "row 2 cannot be used (kind 'Edit' is none of edit, graph,"),
        (f"{OURS}m,1,2,,note,me,,\n", "row 1 cannot be used (an empty value)"),
        (f"{OURS}m,1,2,x,graph,me,,\n", "row 1 cannot be used (graph_id '' is not 16 hex digits)"),
        (f"{OURS}m,1,2,x,graph,me,../../../../../x,\n", "row 1 cannot be used (graph_id '../"),
        (f"{OURS}m,1,2,x,edit,me,,yesterday\n", "row 1 cannot be used (Invalid isoformat string: 'yesterday')"),
        (f"{OURS}m,1,2,x,edit,me,,0001-01-01T00:00+05:00\n", "row 1 cannot be used (date value out of range)"),
    ],
)
def test_a_table_that_lacks_something_is_refused_with_the_row(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(GraphFormatError) as refused:
        read_labels(path)
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


def test_a_table_with_half_a_character_or_endless_lists_gives_labels_that_can_be_kept_or_is_refused(library, tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"source_set": "m\ud800", "layer": 1, "index": 2, "label": "Te\udc00xas"}))
    ((source_set, label),) = read_labels(path)
    assert (source_set, label.label) == ("m?", "Te?xas") and LabelStore(library).add(source_set, [label]) == 1
    path.write_text("[" * 100_000)
    with pytest.raises(GraphFormatError, match="cannot be read"):
        read_labels(path)


def test_where_a_table_cannot_be_written_nothing_is_left_of_it(tmp_path):
    def damaged():
        yield {"source_set": "m", "layer": 1, "index": 2, "label": "x"}
        raise GraphFormatError("the next file of labels is damaged")

    with pytest.raises(GraphFormatError):
        write_labels(tmp_path / "labels.csv", damaged())
    assert not list(tmp_path.iterdir())
