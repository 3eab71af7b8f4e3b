"""Kept circuits: files are the record, the database is tied to its graphs, and every way back brings them along."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cli import main
from circuits.kept import Kept, KeptLink, KeptNode, changes
from ingest import pieces
from ingest import store as store_module
from ingest.archive import backup, restore
from ingest.circuit_runs import run_again, run_pattern, run_set
from ingest.keep import rebuild, remove_graph, verify
from ingest.kept_circuits import KeptCircuits, circuit_row, keep_circuit, kept_circuits, named_circuit, remove_circuit
from ingest.labels import Label, LabelStore
from ingest.library import Library
from ingest.load import keep_graph
from ingest.own_queries import OwnQueries
from ingest.queries import query_named
from ingest.store import GraphStore
from tests.app.graphs import capital_graph
from tracer.errors import GraphFormatError, PatternError, StoreError
from tracer.graph import AttributionGraph

PATTERN = "{city} -> Texas -> *"
ROLES = {"city": ["Dallas", "Oakland"]}
PATH = ["E_13_2", "0_7_2", "1_4_3", "2_5_3", "4_21_3"]  # Dallas -> cities of Texas -> Texas -> #5 -> Austin


@pytest.fixture
def graphs() -> list[AttributionGraph]:
    return [capital_graph(), capital_graph("Oakland", "California", "Sacramento")]


@pytest.fixture
def kept(store, library) -> Kept:
    kept = run_pattern("Dallas -> Texas -> Austin", store, library, name="capitals", note="a note")
    keep_circuit(kept, store, library)
    return kept


def test_a_kept_circuit_comes_back_with_an_archive(store, library, kept, tmp_path):
    backup(library, tmp_path / "all.zip")
    remove_circuit(kept.kept_id, store, library)
    list(restore(tmp_path / "all.zip", store, library))
    assert KeptCircuits(library).load(kept.kept_id) == kept and list(verify(store, library)) == []
    keep_circuit(replace(kept, note="edited since"), store, library)
    list(restore(tmp_path / "all.zip", store, library))
    assert KeptCircuits(library).load(kept.kept_id).note == "edited since"
    list(restore(tmp_path / "all.zip", store, library, replace=True))
    assert KeptCircuits(library).load(kept.kept_id) == kept


def graphs_of(store: GraphStore, kept: Kept) -> dict[str, dict]:
    return {row["graph_id"]: row for row in store.run("kept_circuit_graphs", kept_id=kept.kept_id).records}


def run(*words: str) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return left.value.code or 0


def test_a_kept_circuit_is_tied_to_its_graphs_and_the_nodes_on_its_strongest_path(store, library, graphs, kept):
    [row] = store.run("kept_circuits").records
    assert (row["kept_id"], row["name"], row["found"], row["n"], row["gone"]) == (kept.kept_id, "capitals", 1, 2, 0)
    dallas, oakland = (graphs_of(store, kept)[graph.graph_id] for graph in graphs)
    assert (dallas["found"], dallas["flow"], dallas["path"]) == (True, kept.prompts[0]["flow"], kept.prompts[0]["path"])
    assert (oakland["found"], oakland["failed"], oakland["path"]) == (False, "Dallas", [])
    ties = store.cypher(
        "MATCH (c:Circuit)-[t:FOUND_IN]->(g:Graph) RETURN c.name AS name, t.flow AS flow, g.slug AS slug"
    )
    assert ties.records == [{"name": "capitals", "flow": dallas["flow"], "slug": "dallas-demo"}]
    assert list(verify(store, library)) == []


@pytest.mark.parametrize("version", ["5", "25"])
def test_the_kept_circuits_of_a_feature_are_those_whose_strongest_paths_visit_it(store, library, kept, version):
    both = run_pattern(PATTERN, store, library, roles=ROLES, name="both")
    keep_circuit(both, store, library)
    query = query_named("feature_circuits")
    for layer, index, node_id in ((0, 7, "0_7_2"), (1, 4, "1_4_3"), (1, 9, "1_9_2"), (2, 5, "2_5_3"), (9, 9, "")):
        asked = query.bind({"source_set": "tiny/hand", "layer": layer, "index": index})
        rows = store.cypher(f"CYPHER {version}\n{query.text}", asked).records
        visits = {each.kept_id: sum(node_id in row["path"] for row in each.prompts) for each in (both, kept)}
        assert {row["kept_id"]: row["prompts"] for row in rows} == {each: n for each, n in visits.items() if n}
        assert all(row["found"] == 1 for row in rows)


def test_kept_queries_and_notes_come_back_with_an_archive_and_none_is_lost(store, library, tmp_path):
    own, notes = OwnQueries(library), LabelStore(library)
    first = own.keep("texas", "First?", "RETURN 1 AS x", {}, ("x",))
    notes.add("tiny/hand", [Label(1, 4, "before", "note", "Ann", "", "2026-01-01")])
    backup(library, tmp_path / "all.zip")
    own.remove("texas")
    notes.add("tiny/hand", [Label(1, 4, "after", "note", "Bob", "", "2026-01-02")])
    list(restore(tmp_path / "all.zip", store, library))
    assert own.all() == {"texas": first}
    second = own.keep("texas", "Second?", "RETURN 2 AS x", {}, ("x",))
    list(restore(tmp_path / "all.zip", store, library))
    assert own.all() == {"texas": second}
    list(restore(tmp_path / "all.zip", store, library, replace=True))
    assert own.all() == {"texas": first}
    assert [each.label for each in notes.of("tiny/hand") if each.kind == "note"] == ["before", "after"]


def test_the_record_is_a_file_of_its_own(library, kept, tmp_path):
    [place] = (tmp_path / "library" / "circuits").iterdir()
    assert place.name == f"{kept.kept_id}.json"
    assert json.loads(place.read_text())["note"] == "a note"
    assert KeptCircuits(library).load(kept.kept_id) == kept


def test_a_name_or_an_id_finds_it_and_a_name_of_two_is_refused(store, library, kept):
    assert named_circuit("capitals", store, library) == named_circuit(kept.kept_id, store, library) == kept
    keep_circuit(replace(kept, pattern="a -> b"), store, library)
    with pytest.raises(PatternError, match="2 kept circuits are called 'capitals'"):
        named_circuit("capitals", store, library)
    with pytest.raises(PatternError, match="there is no kept circuit 'nothing'"):
        named_circuit("nothing", store, library)


def test_keeping_it_again_changes_name_and_note_alone(store, library, kept):
    keep_circuit(replace(kept, name="other", note=""), store, library)
    [row] = kept_circuits(store, library)
    assert (row["name"], row["note"], row["where"]) == ("other", "", "both")


def test_removing_a_graph_does_not_break_it_and_it_says_which_is_gone(store, library, graphs, kept):
    remove_graph(graphs[0].graph_id, store, library)
    [row] = kept_circuits(store, library)
    assert row["gone"] == 1
    gone = graphs_of(store, kept)[graphs[0].graph_id]
    assert (gone["loaded"], gone["path"], gone["flow"]) == (False, [], kept.prompts[0]["flow"])
    assert list(verify(store, library)) == []
    keep_graph(graphs[0], store, library)
    assert graphs_of(store, kept)[graphs[0].graph_id]["path"] == kept.prompts[0]["path"]
    assert list(verify(store, library)) == []


def test_a_graph_that_comes_and_goes_in_pieces_is_tied_too(store, library, graphs, kept, monkeypatch):
    monkeypatch.setattr(store_module, "ONE_TRANSACTION", 3)
    monkeypatch.setattr(pieces, "PIECE", 4)
    store.remove(graphs[0].graph_id)
    assert graphs_of(store, kept)[graphs[0].graph_id]["path"] == []
    store.add(graphs[0])
    assert graphs_of(store, kept)[graphs[0].graph_id]["path"] == kept.prompts[0]["path"]
    assert list(verify(store, library)) == []


def test_a_rebuild_brings_it_back(store, library, kept):
    remove = "MATCH (c:Circuit) DETACH DELETE c"
    store._client.run_schema(remove)
    assert [finding.what for finding in verify(store, library)] == [
        f"kept circuit {kept.kept_id}: the library has it, the database does not; expected it in both"
    ]
    assert kept_circuits(store, library)[0]["where"] == "library"
    assert list(rebuild(store, library)) == []
    assert list(verify(store, library)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MATCH (c:Circuit) SET c.note = 'other'", "note differ from the library"),
        ("MATCH (:Circuit)-[t:FOUND_IN]->() DELETE t", "1 ties are missing"),
        ("MATCH (:Circuit)-[t:PASSES]->() WITH t LIMIT 1 DELETE t", "1 ties are missing"),
    ],
)
def test_each_damage_is_found(text, said, store, library, kept):
    store._client.run_schema(text)
    [finding] = verify(store, library)
    assert said in finding.what
    assert list(rebuild(store, library)) == []
    assert list(verify(store, library)) == []


def test_rebuilding_refuses_to_lose_one_that_only_the_database_has(store, library, kept):
    KeptCircuits(library).remove(kept.kept_id)
    assert named_circuit("capitals", store, library) == kept
    with pytest.raises(StoreError, match="1 kept circuits are in the database only"):
        list(rebuild(store, library))
    assert list(rebuild(store, library, drop=True)) == []
    assert kept_circuits(store, library) == []


def test_a_damaged_file_is_told_and_the_rest_is_rebuilt(store, library, kept, tmp_path):
    place = tmp_path / "library" / "circuits" / f"{kept.kept_id}.json"
    place.write_text(place.read_text().replace('"found": 1', '"found": 2'))
    [finding] = verify(store, library)
    assert "was changed since" in finding.what
    assert ["was changed since" in finding.what for finding in rebuild(store, library)] == [True]
    with pytest.raises(GraphFormatError, match="there is no kept circuit"):
        KeptCircuits(library).load("../../etc/passwd")


def test_a_full_disk_leaves_what_was_kept(library, kept, monkeypatch):
    files = KeptCircuits(library)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    small = files._files
    monkeypatch.setattr(small.fs, "mv", full)
    with pytest.raises(StoreError, match="No space left on device; expected room"):
        files.add(replace(kept, note="another"))
    assert files.load(kept.kept_id).note == "a note"
    assert [name for name in map(str, small.fs.ls(small.path, detail=False)) if name.endswith(".part")] == []


def test_running_again_tells_what_changed(store, library, graphs, kept):
    assert changes(kept, run_again(kept, store, library)) == []
    remove_graph(graphs[1].graph_id, store, library)
    keep_graph(capital_graph("Houston"), store, library)
    told = {row["slug"]: row["change"] for row in changes(kept, run_again(kept, store, library))}
    assert told == {"oakland-demo": "graph gone", "houston-demo": "graph new"}
    remove_graph(graphs[0].graph_id, store, library)
    only = run_pattern("Houston -> Texas -> Austin", store, library, ["houston-demo"])
    assert only.method["graphs"] == [only.prompts[0]["graph_id"]]
    remove_graph(only.prompts[0]["graph_id"], store, library)
    with pytest.raises(PatternError, match="none of the 1 graphs of kept circuit"):
        run_again(only, store, library)


def test_roles_are_kept_with_their_terms_and_a_set_with_its_rows(store, library, graphs):
    from circuits.promptset import PromptSet, graphs_by_name, members

    kept = run_pattern(PATTERN, store, library, roles=ROLES)
    assert (kept.name, kept.method["roles"], kept.prompts[0]["roles"]) == (PATTERN, ROLES, {"city": "Dallas"})
    assert changes(kept, run_again(kept, store, library)) == []
    rows = [
        {"slug": "dallas-demo", "city": "Dallas", "template": "1"},
        {"slug": "oakland-demo", "city": "Oakland", "template": "1"},
    ]
    prompts = PromptSet.of(rows, "two")
    kept = run_set(PATTERN, members(prompts, graphs_by_name(graphs)), prompts.name)
    assert (kept.figures["found"], kept.method["set"], kept.prompts[1]["failed"]) == (1, "two", "Texas")
    assert {each["null"] for each in kept.figures["chance"]} and kept.prompts[0]["path"]
    again = run_again(kept, store, library)
    assert changes(kept, again) == [] and again.figures["chance"] == kept.figures["chance"]


names = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
rows = st.fixed_dictionaries(
    {"graph_id": names, "slug": names, "prompt": names, "roles": st.dictionaries(names, names, max_size=2),
     "flow": st.floats(0, 9), "found": st.booleans(), "path": st.lists(names, max_size=4)},
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, names, names.filter(bool), st.lists(rows, max_size=3), st.dictionaries(names, plain, max_size=3))
def test_every_record_comes_back_from_file_and_database(store, tmp_path, name, note, pattern, prompts, figures):
    nodes = (KeptNode("a", name, 0), KeptNode("b", note, 1))
    kept = Kept(name, pattern, tuple(prompts), figures, figures, nodes, (KeptLink("a", "b", 0.5, -1.0),), note)
    library = Library(tmp_path / "records")
    keep_circuit(kept, store, library)
    assert KeptCircuits(library).load(kept.kept_id) == kept
    assert Kept.from_row(json.loads(store.circuit_record(kept.kept_id))) == kept
    assert [row["kept_id"] for row in store.run("kept_circuits").records] == [kept.kept_id]
    [stored] = store.stored_circuits()
    expected = {key: value for key, value in circuit_row(kept).items() if value is not None}
    assert stored == {"properties": expected, "untied": 0}
    assert remove_circuit(kept.kept_id, store, library) and not remove_circuit(kept.kept_id, store, library)


def test_the_commands_keep_list_show_run_again_export_and_remove(store, library, graphs, tmp_path, capsys):
    assert run("keep", "Dallas -> Texas -> Austin", "--name", "capitals", "--note", "<b>mine</b>") == 0
    assert "found in 1 of 2" in capsys.readouterr().out
    assert run("keep", "list", "--format", "json") == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["note"], row["where"]) == ("capitals", "<b>mine</b>", "both")
    for ending in ("json", "csv", "graphml", "svg"):
        run("keep", "export", "capitals", "--out", str(tmp_path / f"it.{ending}"))
    ElementTree.parse(tmp_path / "it.svg")
    assert json.loads((tmp_path / "it.json").read_text())["kept_id"] == row["kept_id"]
    capsys.readouterr()
    assert run("keep", "rerun", "capitals") == 0
    assert "No prompt changed." in capsys.readouterr().out
    remove_graph(graphs[0].graph_id, store, library)
    assert run("keep", "rerun", "capitals", "--replace") == 0
    assert "graph gone" in capsys.readouterr().out
    assert run("keep", "show", "capitals") == 0
    assert "found in 0 of 1" in capsys.readouterr().out
    assert run("keep", "remove", "capitals") == 2
    assert run("keep", "remove", "capitals", "--yes") == 0
    capsys.readouterr()
    assert run("keep", "list", "--format", "csv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert run("keep", "export", "capitals", "--out", "it.pdf") == 2
    assert "expected an ending of .json, .csv, .graphml, .svg" in capsys.readouterr().err
