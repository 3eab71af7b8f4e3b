"""Supernodes in library and database: suggested, by hand, from files; with score, owner and members; in patterns."""

import csv
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cli import main
from circuits.supernodes import BY_HAND, BY_PROFILE, supernodes_of
from ingest import pieces
from ingest import store as store_module
from ingest.grouping import edit_supernode, keep_supernodes, suggest_supernodes, with_own_supernodes
from ingest.keep import rebuild, verify
from ingest.library import Library
from ingest.load import keep_graph
from ingest.search import search_circuits
from tests.app.graphs import capital_graph
from tracer.errors import PatternError
from tracer.graph import AttributionGraph

GRAPH = capital_graph()
ID = GRAPH.graph_id
MEMBERS = ["0_7_2", "1_4_3"]


@pytest.fixture
def library(tmp_path, store, monkeypatch) -> Library:
    monkeypatch.setenv("THROUGHLINE_LIBRARY", str(tmp_path / "library"))
    library = Library(tmp_path / "library")
    keep_graph(GRAPH, store, library)
    return library


def stored(store) -> dict[str, dict]:
    return {row["name"]: row for row in store.run("supernodes").records}


def test_suggested_ones_are_kept_with_method_score_and_owner_and_replace_earlier_ones(store, library):
    edit_supernode(ID, "mine", MEMBERS, store, library, by="Ann")
    first = list(suggest_supernodes([ID], store, library, least=-1, by="Bob"))
    assert first and {row["method"] for row in first} == {BY_PROFILE}
    assert list(suggest_supernodes([ID], store, library, least=-1, by="Bob")) == first
    there = stored(store)
    assert {name: row["by"] for name, row in there.items()} == {"mine": "Ann"} | {row["name"]: "Bob" for row in first}
    assert there["mine"]["method"] == BY_HAND and 0 <= there["mine"]["score"] <= 1
    list(suggest_supernodes([ID], store, library, least=1))
    assert list(stored(store)) == ["mine"]
    assert list(verify(store, library)) == []


def test_nothing_is_kept_of_a_dry_run(store, library):
    assert list(suggest_supernodes([ID], store, library, least=-1, keep=False))
    assert stored(store) == {}


def test_several_are_made_and_taken_away_at_once_and_all_others_stay(store, library):
    keep_supernodes(ID, {"old": ["0_7_2", "1_4_3"], "other": ["E_13_2", "E_14_3"]}, store, library)
    rows = keep_supernodes(ID, {"new": ["1_4_3", "2_5_3"]}, store, library, gone=["old", "never there"], by="Ann")
    assert [(row["name"], row["method"], row["by"], row["size"]) for row in rows] == [("new", BY_HAND, "Ann", 2)]
    assert {name: row["members"] for name, row in stored(store).items()} == {
        "new": ["1_4_3", "2_5_3"], "other": ["E_13_2", "E_14_3"]
    }  # fmt: skip
    with pytest.raises(PatternError, match="expected one"):
        keep_supernodes(ID, {"a": ["1_4_3"], "b": ["1_4_3"]}, store, library)
    assert set(stored(store)) == {"new", "other"}


def test_one_by_hand_serves_in_patterns_and_can_be_renamed_and_taken_away(store, library):
    edit_supernode(ID, "places", MEMBERS, store, library)
    [found] = search_circuits("Dallas -> supernode:places -> Austin", store, library)
    assert found.flow > 0
    edit_supernode(ID, "places", [], store, library, rename="Texan places")
    assert stored(store)["Texan places"]["members"] == MEMBERS
    edit_supernode(ID, "Texan places", ["2_5_3"], store, library)
    assert stored(store)["Texan places"]["members"] == ["2_5_3"]
    assert edit_supernode(ID, "Texan places", [], store, library) is None
    assert stored(store) == {}
    with pytest.raises(PatternError, match="has no supernode 'Texan places'; it has none"):
        edit_supernode(ID, "Texan places", [], store, library)
    with pytest.raises(PatternError, match="there is no node '0_7_9'"):
        edit_supernode(ID, "x", ["0_7_9"], store, library)
    assert list(verify(store, library)) == []


def test_members_that_are_pruned_away_are_named_and_the_others_are_tied(store, library):
    edit_supernode(ID, "both", ["1_9_2", "1_4_3"], store, library)
    ties = store.cypher("MATCH (n:Node)-[:MEMBER_OF]->(s:Supernode) RETURN s.name AS name, n.node_id AS node_id")
    assert ties.records == [{"name": "both", "node_id": "1_4_3"}]
    assert stored(store)["both"]["size"] == 2


def test_they_come_back_with_a_rebuild_and_stay_when_the_graph_is_taken_in_again(store, library):
    edit_supernode(ID, "places", MEMBERS, store, library, by="Ann")
    before = stored(store)
    store._client.run_schema("MATCH (s:Supernode) SET s.by = 'Eve'")
    assert ["supernodes differ" in finding.what for finding in verify(store, library)] == [True]
    assert list(rebuild(store, library)) == []
    assert stored(store) == before
    keep_graph(with_own_supernodes(GRAPH, library), store, library)
    assert stored(store) == before and list(verify(store, library)) == []


def test_a_graph_in_pieces_has_them_too_and_takes_them_along(store, library, monkeypatch):
    edit_supernode(ID, "places", MEMBERS, store, library)
    monkeypatch.setattr(store_module, "ONE_TRANSACTION", 3)
    monkeypatch.setattr(pieces, "PIECE", 4)
    store.remove(ID)
    assert store.stored_supernodes(ID) == []
    store.add(library.load(ID))
    assert list(stored(store)) == ["places"] and list(verify(store, library)) == []


names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12)
groups = st.dictionaries(names, st.sets(st.sampled_from(["0_7_2", "1_4_3", "1_9_2", "2_5_3"]), min_size=1), max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups)
def test_every_supernode_comes_back_from_file_and_database(store, library, made):
    for name, members in made.items():
        edit_supernode(ID, name, sorted(members), store, library, by="Ann")
    kept: AttributionGraph = library.load(ID)
    ids = kept.nodes["node_id"].tolist()
    assert {each.name: {ids[row] for row in each.rows} for each in supernodes_of(kept)} == made
    assert {name: set(row["members"]) for name, row in stored(store).items()} == made
    for name in made:
        edit_supernode(ID, name, [], store, library)
    assert stored(store) == {}


def test_the_commands_suggest_list_edit_and_export(store, library, tmp_path, capsys):
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["supernodes", *words])
        assert not left.value.code
        return capsys.readouterr().out

    run("edit", "dallas-demo", "places", *MEMBERS, "--by", "Ann")
    assert json.loads(run("suggest", "dallas-demo", "--least=-1", "--dry-run", "--format", "json"))
    [row] = json.loads(run("list", "dallas-demo", "--format", "json"))
    assert (row["name"], row["by"], row["members"]) == ("places", "Ann", MEMBERS)
    run("export", str(tmp_path / "all.csv"))
    with (tmp_path / "all.csv").open(newline="") as table:
        assert [(row["name"], row["node_id"]) for row in csv.DictReader(table)] == [
            ("places", member) for member in MEMBERS
        ]
    run("export", str(tmp_path / "all.jsonl"), "--graph", "dallas-demo")
    assert json.loads((tmp_path / "all.jsonl").read_text())["members"] == MEMBERS
    assert "taken away" in run("edit", "dallas-demo", "places")
