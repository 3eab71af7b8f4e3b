"""What is kept can be listed, compared, made anew, archived and brought back, and nothing is lost on the way."""

import json
import threading
import time
import zipfile
from dataclasses import replace

import pytest

from app.cli import main
from ingest.archive import MANIFEST, backup, restore
from ingest.keep import graph_ids, graph_info, kept_graphs, rebuild, remove_graph, verify
from ingest.labels import Label, LabelStore
from ingest.library import Library
from ingest.load import ingest_paths, keep_graph, relabel
from ingest.rows import graph_rows
from ingest.server import LocalServer
from ingest.store import GraphStore, open_store
from ingest.views import ViewStore
from tests.ingest.made_graphs import make_graph
from tests.ingest.test_labels import labelled, shown
from tests.ingest.test_store import check_aggregates, stored_flows
from tests.neo4j_fixture import shared_jars
from tracer.errors import CircuitError, GraphFormatError, PatternError, StoreError, StoreUnreachableError
from tracer.graph import EDGES_FILE, FILES, METADATA_FILE, NODES_FILE, AttributionGraph

DAMAGES = {
    "a node lost": ("MATCH (n:Error) WITH n LIMIT 1 DETACH DELETE n", "nodes, expected"),
    "an edge lost": ("MATCH ()-[e:AFFECTS]->() WITH e LIMIT 1 DELETE e", "edges, expected"),
    "an effect changed": ("MATCH ()-[e:AFFECTS]->() WITH e LIMIT 1 SET e.effect = e.effect + 1", "edges differ"),
    "a rank changed": ("MATCH ()-[e:AFFECTS]->() WITH e LIMIT 1 SET e.rank_in = 0", "edges differ"),
    "a label changed": ("MATCH (n:Token) WITH n LIMIT 1 SET n.label = 'other'", "nodes differ"),
    "a node outside": ("MATCH (:Node)-[i:IN]->() WITH i LIMIT 1 DELETE i", "nodes differ"),
    "a feature untied": ("MATCH (:Node)-[i:INSTANCE_OF]->() WITH i LIMIT 1 DELETE i", "nodes differ"),
    "a prompt changed": ("MATCH (g:Graph) SET g.prompt = 'other'", "prompt: the database has 'other'"),
    "a sum changed": ("MATCH ()-[f:FLOWS_TO]->() WITH f LIMIT 1 SET f.billionths = 0", "aggregate over all graphs"),
    "a link lost": ("MATCH ()-[f:FLOWS_TO]->() WITH f LIMIT 1 DELETE f", "aggregate over all graphs"),
    "a count changed": ("MATCH (f:Feature) WITH f LIMIT 1 SET f.graphs = 9", "aggregate over all graphs"),
    "a mean changed": ("MATCH ()-[f:FLOWS_TO]->() WITH f LIMIT 1 SET f.mean_share = 0.5", "aggregate over all graphs"),
    "a mean lost": ("MATCH ()-[f:FLOWS_TO]->() WITH f LIMIT 1 REMOVE f.mean_share", "aggregate over all graphs"),
    "a link that ends elsewhere": (
        "MATCH (a:Feature)-[f:FLOWS_TO]->(b) MATCH (c:Feature) WHERE c <> b AND NOT (a)-[:FLOWS_TO]->(c) "
        "WITH a, f, c LIMIT 1 CREATE (a)-[n:FLOWS_TO]->(c) SET n = properties(f) DELETE f",
        "aggregate over all graphs",
    ),
    "two links with each other's numbers": (
        "MATCH (a:Feature)-[f:FLOWS_TO]->(), (a)-[g:FLOWS_TO]->() WHERE f.billionths < g.billionths WITH f, g LIMIT 1 "
        "WITH f, g, properties(f) AS one, properties(g) AS other SET f = other, g = one",
        "aggregate over all graphs",
    ),
    "two links that exchange counts": (
        "MATCH (a:Feature)-[f:FLOWS_TO]->(), (a)-[g:FLOWS_TO]->() WHERE f <> g AND f.edges > 1 WITH f, g LIMIT 1 "
        "SET f.graphs = f.graphs + 1, g.graphs = g.graphs - 1, f.edges = f.edges - 1, g.edges = g.edges + 1 "
        "WITH [f, g] AS links UNWIND links AS link SET link.mean_share = link.billionths * 1e-9 / link.edges",
        "aggregate over all graphs",
    ),
    "a feature of no place": ("CREATE (:Feature)", "of Feature, expected"),
    "a feature called otherwise": ("MATCH (f:Feature) WITH f LIMIT 1 SET f.label = 'x'", "aggregate over all graphs"),
    "a feature without its label": (
        "MATCH (f:Feature) WHERE f.label <> '' WITH f LIMIT 1 SET f.label = ''",
        "aggregate over all graphs",
    ),
    "a node of no kind": ("CREATE (:Other)", "1 of Other, expected 0"),
    "a node without label": ("CREATE ()", "1 nodes without a label"),
    "a relationship of no kind": ("MATCH (n:Token) WITH n LIMIT 1 CREATE (n)-[:SEES]->(n)", "1 of SEES, expected 0"),
    "a node of no graph": ("CREATE (:Node:Error {graph_id: 'none', node_id: '0_-1_0'})", "of Node, expected"),
    "a supernode of no graph": ("CREATE (:Supernode {graph_id: 'none', name: 'x'})", "1 of Supernode, expected 0"),
}


@pytest.fixture
def graphs() -> list[AttributionGraph]:
    return [make_graph(seed) for seed in range(20, 23)]


def damage(store: GraphStore, text: str) -> None:
    store._client.run_schema(text)


def test_the_list_says_where_each_graph_is(store, library, graphs):
    first, second, third = graphs
    assert [(kept.graph_id, kept.where, kept.edges) for kept in kept_graphs(store, library)] == [
        (graph.graph_id, "both", len(graph.pruned().edges)) for graph in graphs
    ]
    store.remove(first.graph_id)
    library.remove(third.graph_id)
    assert [(kept.graph_id, kept.where) for kept in kept_graphs(store, library)] == [
        (first.graph_id, "library"), (second.graph_id, "both"), (third.graph_id, "database"),
    ]  # fmt: skip


def test_a_damaged_graph_is_listed_as_such_and_can_be_removed(store, library, graphs, tmp_path):
    first, second, _ = graphs
    store.remove(first.graph_id)
    for graph in (first, second):
        (tmp_path / "library" / graph.graph_id / METADATA_FILE).write_text("{")
    kept = {each.graph_id: each for each in kept_graphs(store, library)}
    assert len(kept) == 3 and "damaged" in kept[first.graph_id].prompt and kept[second.graph_id].slug == "made-21"
    for graph in (first, second):
        assert graph_ids([graph.graph_id], store, library) == [graph.graph_id]
        assert remove_graph(graph.graph_id, store, library)
    assert list(verify(store, library)) == []


def test_a_graph_is_named_by_id_or_slug_and_a_slug_of_two_is_refused(store, library, graphs):
    first = graphs[0]
    assert graph_ids([first.graph_id, "made-20"], store, library) == [first.graph_id]
    twin = AttributionGraph(make_graph(30).nodes, make_graph(30).edges, first.metadata)
    keep_graph(twin, store, library)
    with pytest.raises(PatternError, match=r"2 graphs are called 'made-20' \(.*expected a graph_id"):
        graph_ids(["made-20"], store, library)
    with pytest.raises(PatternError, match="no graph is 'nosuch'"):
        graph_ids(["nosuch"], store, library)


def test_info_counts_what_is_in_the_files_and_what_is_kept(store, library, graphs):
    graph = graphs[0]
    about = graph_info(graph.graph_id, store, library)
    assert about["nodes"] == graph.nodes["kind"].value_counts(sort=False).to_dict()
    assert sum(about["kept_nodes"].values()) == graph.nodes["kept"].sum()
    assert (about["edges"], about["kept_edges"]) == (len(graph.edges), graph.edges.kept.sum())
    assert about["in_database"] and about["replacement_score"] == 0.5 and about["repairs"] == {}
    library.remove(graph.graph_id)
    assert graph_info(graph.graph_id, store, library)["in_library"] == ""


def test_a_removed_graph_is_nowhere_and_removing_goes_on_after_a_crash(store, library, graphs):
    first, second, third = graphs
    assert remove_graph(first.graph_id, store, library)
    assert not remove_graph(first.graph_id, store, library)
    store.remove(second.graph_id)  # as a crash between the two would leave it
    assert remove_graph(second.graph_id, store, library)
    assert [kept.graph_id for kept in kept_graphs(store, library)] == [third.graph_id]
    assert list(verify(store, library)) == []


def test_what_was_stored_is_what_the_files_say(store, library):
    assert list(verify(store, library)) == []


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_of_the_database_is_found_and_rebuilt(name, store, library, graphs):
    text, said = DAMAGES[name]
    damage(store, text)
    found = list(verify(store, library))
    assert found and any(said in finding.what for finding in found), found
    assert list(rebuild(store, library)) == []
    assert list(verify(store, library)) == []
    check_aggregates(store, graphs)


@pytest.mark.parametrize(
    ("kind", "name"), [("INDEX", "node_graph"), ("INDEX", "node_labels"), ("CONSTRAINT", "node_key")]
)
def test_a_dropped_index_or_constraint_is_found_and_rebuilt(kind, name, store, library):
    damage(store, f"DROP {kind} {name}")
    assert [finding.what.split()[0] for finding in verify(store, library)] == [name]
    assert list(rebuild(store, library)) == []
    assert list(verify(store, library)) == []


@pytest.mark.parametrize(
    "made",
    [
        "CREATE RANGE INDEX node_graph FOR (n:Node) ON (n.kind)",
        "CREATE RANGE INDEX node_graph FOR (n:Token) ON (n.graph_id)",
        "CREATE TEXT INDEX node_graph FOR (n:Node) ON (n.graph_id)",
        "CREATE CONSTRAINT node_graph FOR (n:Meta) REQUIRE n.other IS UNIQUE",
    ],
)
def test_something_else_under_the_name_of_an_index_is_found_and_replaced(made, store, library):
    damage(store, "DROP INDEX node_graph")
    damage(store, made)
    assert [finding.what.split()[0] for finding in verify(store, library)] == ["node_graph"]
    assert list(rebuild(store, library)) == []
    assert list(verify(store, library)) == []


def test_an_index_that_has_failed_is_found_and_made_anew(store, library):
    damage(store, "DROP INDEX supernode_graph")
    damage(store, "CREATE (:Supernode {graph_id: reduce(s = 'x', i IN range(1, 15) | s + s)})")
    with pytest.raises(CircuitError, match=r"(?i)index"):
        store.complete_schema()  # such a text is longer than an index takes
    assert "supernode_graph" in {finding.what.split()[0] for finding in verify(store, library)}
    assert list(rebuild(store, library)) == []
    assert list(verify(store, library)) == []


def test_an_index_of_another_name_in_the_place_of_ours_is_found_and_replaced(store, library):
    damage(store, "DROP INDEX node_graph")
    damage(store, "CREATE RANGE INDEX `of another ``hand` FOR (n:Node) ON (n.graph_id)")
    assert [finding.what.split()[0] for finding in verify(store, library)] == ["node_graph"]
    assert list(rebuild(store, library)) == []
    assert list(verify(store, library)) == []


def test_a_damaged_file_is_found_and_the_others_are_rebuilt(store, library, graphs, tmp_path):
    hurt = tmp_path / "library" / graphs[1].graph_id / EDGES_FILE
    hurt.write_bytes(hurt.read_bytes()[:-50])
    one, all_graphs = verify(store, library)
    assert one.graph_id == graphs[1].graph_id and all_graphs.graph_id == ""
    assert "not compared, as 1 of them cannot be read" in all_graphs.what and one.graph_id in all_graphs.what
    assert [finding.graph_id for finding in rebuild(store, library)] == [graphs[1].graph_id]
    assert {row["graph_id"] for row in store.graphs()} == {graphs[0].graph_id, graphs[2].graph_id}


def test_rebuilding_refuses_to_lose_a_graph_that_no_file_has(store, library, graphs):
    library.remove(graphs[0].graph_id)
    assert [finding.graph_id for finding in verify(store, library)] == [graphs[0].graph_id, ""]
    damage(store, "CREATE (:Other)")
    assert [finding.what for finding in verify(store, library)][1] == "the database has 1 of Other, expected 0"
    with pytest.raises(StoreError, match=rf"1 graphs are in the database only \({graphs[0].graph_id}\).*--drop"):
        list(rebuild(store, library))
    assert store.has(graphs[0].graph_id)
    assert list(rebuild(store, library, drop=True)) == []
    assert not store.has(graphs[0].graph_id)


@pytest.mark.parametrize("at", range(1, 7))
def test_a_rebuild_that_was_cut_off_goes_on_by_itself_when_the_store_is_opened(at, store, library, graphs):
    told = []

    def interrupt(done: int, total: int, what: str) -> None:
        told.append(what)
        if len(told) == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(rebuild(store, library, interrupt))
    with open_store() as again:
        assert {row["graph_id"] for row in again.graphs()} == set(library.ids())
        assert list(verify(again, library)) == []
    with open_store() as quiet:
        assert quiet.is_current()


def test_a_rebuild_by_two_at_once_is_refused_and_opening_waits_for_one_under_way(store, library):
    store.begin_rebuild("another", 60_000)
    with pytest.raises(StoreError, match="another command is rebuilding"):
        list(rebuild(store, library))
    store.begin_rebuild("another", 3_000)  # which dies now
    began = time.monotonic()
    with open_store() as opened:
        assert opened.is_current()
    assert time.monotonic() - began > 2
    assert list(rebuild(store, library)) == []


def test_what_comes_and_goes_while_the_database_is_made_anew_is_where_it_belongs(store, library, graphs):
    """Graphs are ingested while it is emptied and while it is filled, and one is removed before its turn comes."""
    first, *_, last = sorted(graph.graph_id for graph in graphs)
    while_emptied, while_filled = make_graph(31), make_graph(32)
    seen = set()

    def meanwhile(done: int, total: int, what: str) -> None:
        if "emptying" in what and "emptying" not in seen:
            seen.add("emptying")
            keep_graph(while_emptied, store, library)
        if what == f"loading {first}":
            seen.add("filling")
            keep_graph(while_filled, store, library)
            remove_graph(last, store, library)

    assert list(rebuild(store, library, meanwhile)) == [] and seen == {"emptying", "filling"}
    assert list(verify(store, library)) == []
    there = {graph.graph_id for graph in (*graphs, while_emptied, while_filled)} - {last}
    assert {(kept.graph_id, kept.where) for kept in kept_graphs(store, library)} == {(each, "both") for each in there}


def test_of_two_commands_with_one_graph_one_comes_after_the_other(store, library, monkeypatch):
    """Removed while it is stored, a graph is nowhere afterwards, and not in the database alone."""
    graph, add = make_graph(33), GraphStore.add
    other = threading.Thread(target=remove_graph, args=(graph.graph_id, store, library))

    def slow_add(self, *arguments, **options):
        other.start()
        other.join(0.5)
        assert other.is_alive()
        return add(self, *arguments, **options)

    monkeypatch.setattr(GraphStore, "add", slow_add)
    assert keep_graph(graph, store, library) == "ingested"
    other.join(30)
    assert not store.has(graph.graph_id) and graph.graph_id not in library
    assert list(verify(store, library)) == []


def test_a_version_of_another_hand_is_told(store):
    damage(store, "MATCH (m:Meta {name: 'schema'}) SET m.before = m.version, m.version = 'new'")
    try:
        with pytest.raises(StoreError, match=r"has version 'new'; expected a number\. .*rebuild"):
            GraphStore(store.connection)
    finally:
        damage(store, "MATCH (m:Meta {name: 'schema'}) SET m.version = m.before REMOVE m.before")


def test_a_vanished_database_is_made_anew_from_the_library(tmp_path, monkeypatch, graphs):
    monkeypatch.setenv("THROUGHLINE_JARS", str(shared_jars()))
    library, server = Library(tmp_path / "library"), LocalServer(tmp_path / "neo4j")
    try:
        with GraphStore(server.ensure()) as store:
            for graph in graphs:
                keep_graph(graph, store, library)
            server.reset()
            with pytest.raises(StoreUnreachableError, match="does not answer"):
                store.graphs()
        with GraphStore(server.ensure()) as store:
            assert {kept.where for kept in kept_graphs(store, library)} == {"library"}
            assert list(rebuild(store, library)) == [] and list(verify(store, library)) == []
            check_aggregates(store, graphs)
    finally:
        server.stop()


def test_a_database_of_an_older_version_is_made_anew_with_progress(store, library, graphs):
    damage(store, "MATCH (meta:Meta {name: 'schema'}) SET meta.version = 0")
    damage(store, "MATCH (n:Node) REMOVE n.label_key")
    told = []
    with open_store(lambda done, total, what: told.append((done, total, what))) as renewed:
        assert list(verify(renewed, library)) == []
    assert (3, 3, "rebuilt") in told
    check_aggregates(store, graphs)


def test_an_archive_brings_everything_back(store, library, graphs, tmp_path):
    flows = stored_flows(store)
    assert backup(library, tmp_path / "all.zip") == 3
    for graph in graphs:
        remove_graph(graph.graph_id, store, library)
    assert [each.status for each in restore(tmp_path / "all.zip", store, library)] == ["ingested"] * 3
    assert stored_flows(store) == flows and list(verify(store, library)) == []
    assert [each.status for each in restore(tmp_path / "all.zip", store, library)] == ["unchanged"] * 3


WAYS_BACK = {
    "ingest": lambda given, archive, store, library: ingest_paths([given], store, library),
    "restore": lambda given, archive, store, library: restore(archive, store, library),
    "restore --replace": lambda given, archive, store, library: restore(archive, store, library, replace=True),
}


@pytest.mark.parametrize("way", WAYS_BACK)
@pytest.mark.parametrize("name", FILES)
def test_an_intact_copy_takes_the_place_of_a_damaged_graph(name, way, store, library, tmp_path):
    given = labelled(tmp_path, "a.json", "Texas", ["0_7_0"])
    [report] = ingest_paths([given], store, library)
    backup(library, tmp_path / "all.zip")
    hurt = tmp_path / "library" / report.graph_id / name
    hurt.write_bytes(hurt.read_bytes()[:-50])
    assert library.intact(report.graph_id) is None
    told = {each.graph_id: each.status for each in WAYS_BACK[way](given, tmp_path / "all.zip", store, library)}
    assert told[report.graph_id] == "updated"
    assert shown(library, report.graph_id)[0] == "Texas" and list(verify(store, library)) == []


def test_long_views_come_back_with_an_archive(store, library, tmp_path):
    view_id = ViewStore(library).add(view := {"g": "made-20", "pins": "0_1_2"})
    backup(library, tmp_path / "all.zip")
    other = Library(tmp_path / "other")
    list(restore(tmp_path / "all.zip", store, other))
    assert ViewStore(other).ids() == [view_id] and ViewStore(other).get(view_id) == view


def test_labels_come_back_with_an_archive_are_shown_and_take_none_away(store, library, graphs, tmp_path):
    layer, index = graph_rows(graphs[0]).entries[0]
    ours, theirs = LabelStore(library), LabelStore(other := Library(tmp_path / "other"))
    ours.add("set", [Label(layer, index, "Texas, of course", "edit", "anna", when="2026-01-02T00:00:00+00:00")])
    relabel("set", store, library)
    backup(library, tmp_path / "all.zip")
    for graph in graphs:
        remove_graph(graph.graph_id, store, library)
    later = Label(layer, index, "Texas?", "import", "table", when="2026-03-02T00:00:00+00:00")
    theirs.add("set", [later])
    keep_graph(graphs[1], store, other)
    assert {each.status for each in restore(tmp_path / "all.zip", store, other)} == {"ingested", "left"}
    told = [{replace(label, when="") for label in some} for some in ([*ours.of("set"), later], theirs.of("set"))]
    assert told[0] <= told[1]
    for graph in graphs:
        nodes = other.load(graph.graph_id).nodes.query(f"layer == {layer} and index == {index}")
        assert set(nodes["label"]) <= {"Texas, of course"}
    assert list(verify(store, other)) == []


def test_damaged_labels_are_found_and_not_archived(store, library, tmp_path):
    LabelStore(library).add("set", [Label(0, 0, "Texas", "edit", "anna")])
    (tmp_path / "library" / "labels" / "set.jsonl").write_bytes(b"half")
    assert any("not labels" in finding.what for finding in verify(store, library))
    with pytest.raises(GraphFormatError, match="not labels"):
        backup(library, tmp_path / "all.zip")
    assert not (tmp_path / "all.zip").exists()


def test_an_archive_of_the_first_version_had_graphs_alone_and_comes_back(store, library, graphs, tmp_path):
    backup(library, tmp_path / "all.zip")

    def older(files: dict[str, bytes]) -> None:
        about = json.loads(files[MANIFEST]) | {"version": 1}
        for name in [name for name in files if name.startswith("labels/")]:
            del files[name], about["files"][name]
        files[MANIFEST] = json.dumps(about).encode()

    rewritten(tmp_path / "all.zip", tmp_path / "old.zip", older)
    fresh = Library(tmp_path / "fresh")
    assert [each.status for each in restore(tmp_path / "old.zip", store, fresh)] == ["ingested"] * 3
    assert fresh.ids() == library.ids()


def test_labels_that_were_edited_since_stay_unless_they_are_to_be_replaced(store, library, graphs, tmp_path):
    backup(library, tmp_path / "all.zip")
    graph = graphs[0]
    edited = AttributionGraph(graph.nodes.assign(label="edited"), graph.edges, graph.metadata)
    assert keep_graph(edited, store, library) == "updated"
    assert sorted(each.status for each in restore(tmp_path / "all.zip", store, library)) == ["left"] + ["unchanged"] * 2
    assert set(library.load(graph.graph_id).nodes["label"]) == {"edited"}
    statuses = [each.status for each in restore(tmp_path / "all.zip", store, library, replace=True)]
    assert sorted(statuses) == ["unchanged"] * 2 + ["updated"]
    assert library.load(graph.graph_id).nodes["label"].equals(graph.nodes["label"])


def test_a_graph_from_a_file_is_as_the_archive_has_it_after_replacing(store, library, tmp_path):
    given = labelled(tmp_path, "a.json", "Texas", ["0_7_0"], creator="Ann")
    (report,) = ingest_paths([given], store, library)
    labels = LabelStore(library)
    labels.add("model", [Label(0, 7, "before", "edit", "me", "", "2026-01-02")])
    relabel("model", store, library)
    backup(library, tmp_path / "all.zip")
    archived, kept = library.load(report.graph_id), labels.of("model")

    labels.add("model", [Label(0, 7, "after", "edit", "me", "", "2026-02-02")])
    relabel("model", store, library)
    later = labelled(tmp_path, "b.json", "Texas", ["E_5_0"], [["group", "E_5_0"]], "Bob")
    (again,) = ingest_paths([later], store, library)
    assert again.graph_id == report.graph_id
    assert {each.status for each in restore(tmp_path / "all.zip", store, library)} == {"unchanged", "left"}
    assert shown(library, report.graph_id)[0] == "after"

    statuses = {each.graph_id: each.status for each in restore(tmp_path / "all.zip", store, library, replace=True)}
    assert statuses[report.graph_id] == "updated"
    restored = library.load(report.graph_id)
    assert shown(library, report.graph_id) == ("before", "edited by me, 2026-01-02")
    assert restored.metadata.provenance == archived.metadata.provenance
    assert [each for each in labels.of("model") if each.kind != "graph"] == [
        each for each in kept if each.kind == "edit"
    ]
    assert list(verify(store, library)) == []
    assert {each.status for each in restore(tmp_path / "all.zip", store, library, replace=True)} == {"unchanged"}


def test_after_replacing_an_edit_that_is_gone_is_shown_in_no_graph_outside_the_archive_either(store, library, tmp_path):
    first = labelled(tmp_path, "a.json", "Texas", ["0_7_0"])
    (inside,) = ingest_paths([first], store, library)
    backup(library, tmp_path / "all.zip")
    document = json.loads(first.read_text())
    document["links"][0] |= {"weight": 7.0}
    (tmp_path / "b.json").write_text(json.dumps(document))
    (outside,) = ingest_paths([tmp_path / "b.json"], store, library)
    labels = LabelStore(library)
    labels.add("model", [Label(0, 7, "edited", "edit", "me", "", "2026-01-02")])
    assert set(relabel("model", store, library)) == {inside.graph_id, outside.graph_id}
    list(restore(tmp_path / "all.zip", store, library, replace=True))
    for graph_id in (inside.graph_id, outside.graph_id):
        label, note = shown(library, graph_id)
        assert label == "Texas" and not note.startswith("edited")
        assert "edited" not in {row["label"] for row in store.run("graph_nodes", graph_id=graph_id).records}
    assert list(verify(store, library)) == []


def rewritten(path, target, change) -> None:
    """A copy of an archive in which `change` has edited {name: bytes}."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def moved_out(files: dict[str, bytes]) -> None:
    about = json.loads(files[MANIFEST])
    for name in [name for name in files if name != MANIFEST][:3]:
        outside = f"../{name}"
        files[outside] = files.pop(name)
        about["files"][outside] = about["files"].pop(name)
    files[MANIFEST] = json.dumps(about).encode()


def other_bytes(files: dict[str, bytes]) -> None:
    name = next(name for name in files if name.endswith(NODES_FILE))
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])


def without_a_file(files: dict[str, bytes]) -> None:
    about = json.loads(files[MANIFEST])
    name = next(name for name in files if name.endswith(METADATA_FILE))
    del files[name], about["files"][name]
    files[MANIFEST] = json.dumps(about).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (moved_out, "is no file of a saved graph"),
        (other_bytes, "is not what its hash says"),
        (without_a_file, "not every graph in it has all of its files"),
        (lambda files: files.update({"../../evil": b"x"}), "other files than its manifest says"),
        (lambda files: files.pop(MANIFEST), f"no {MANIFEST}"),
        (lambda files: files.update({MANIFEST: b"[]"}), f"no {MANIFEST}"),
    ],
)
def test_a_changed_archive_is_refused_and_nothing_changes(change, said, store, library, graphs, tmp_path):
    backup(library, tmp_path / "all.zip")
    remove_graph(graphs[0].graph_id, store, library)
    rewritten(tmp_path / "all.zip", tmp_path / "bad.zip", change)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with pytest.raises(GraphFormatError, match=said):
        list(restore(tmp_path / "bad.zip", store, library))
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert not store.has(graphs[0].graph_id)


def test_an_archive_damaged_anywhere_is_refused(store, library, tmp_path):
    backup(library, tmp_path / "all.zip")
    whole = (tmp_path / "all.zip").read_bytes()
    for at in range(0, len(whole), len(whole) // 40):
        (tmp_path / "bad.zip").write_bytes(whole[:at])
        with pytest.raises(GraphFormatError, match="expected an archive"):
            list(restore(tmp_path / "bad.zip", store, library))


def test_a_library_with_damage_is_not_archived_over_a_good_archive(library, graphs, tmp_path):
    backup(library, tmp_path / "all.zip")
    good = (tmp_path / "all.zip").read_bytes()
    (tmp_path / "library" / graphs[2].graph_id / NODES_FILE).write_bytes(b"half")
    with pytest.raises(GraphFormatError, match=NODES_FILE):
        backup(library, tmp_path / "all.zip")
    assert (tmp_path / "all.zip").read_bytes() == good and not list(tmp_path.glob("*.part"))


def test_the_commands_do_what_the_functions_do(store, library, graphs, tmp_path, capsys):
    def said(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        seen = capsys.readouterr()
        assert left.value.code == 0, seen.err
        return seen.out

    assert {row["graph_id"] for row in json.loads(said("list", "--format", "json"))} == set(library.ids())
    assert json.loads(said("info", "made-20", "--format", "json"))["graph_id"] == graphs[0].graph_id
    assert "the database is what the library says" in said("verify").lower()
    assert "3 graphs" in said("backup", str(tmp_path / "all.zip"))
    assert graphs[1].graph_id in said("remove", "made-21", "--yes")
    assert "2 graphs again" in said("rebuild")
    assert said("restore", str(tmp_path / "all.zip"), "--format", "csv").count("unchanged") == 2
    with pytest.raises(SystemExit) as left:
        main(["remove", "made-21"])
    assert left.value.code == 2 and "expected --yes" in capsys.readouterr().err
    damage(store, "MATCH (g:Graph) SET g.prompt = 'other'")
    with pytest.raises(SystemExit) as left:
        main(["verify"])
    assert left.value.code == 2 and "3 differences" in capsys.readouterr().err
