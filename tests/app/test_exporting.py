"""Files that the page Graph hands out hold the graph with the pins and groups of the view."""

import io
import zipfile

import networkx as nx
import pandas as pd
import pytest

from app.exporting import FOLDERS, FORMATS, exported
from circuits.supernodes import BY_HAND, FROM_FILE, supernodes_by_hand, supernodes_of, with_supernodes
from ingest.readers import read_graph_file
from tests.app.graphs import capital_graph
from tracer.errors import SettingError

GRAPH = capital_graph()
PLACES = {"name": "places", "members": ["0_7_2", "1_4_3"]}


def read_back(body: bytes, tmp_path):
    (tmp_path / "graph.json").write_bytes(body)
    return read_graph_file(tmp_path / "graph.json")


def test_json_has_labels_pins_and_groups_of_the_view_and_our_reader_takes_it(tmp_path):
    body, name = exported(GRAPH, "json", ["1_4_3", "4_21_3"], [PLACES, {"name": "undone", "members": []}])
    graph = read_back(body, tmp_path)
    assert name == "dallas-demo.json"
    assert graph.metadata.provenance["pins"] == ["1_4_3", "4_21_3"]
    assert [(each.name, len(each.rows)) for each in supernodes_of(graph)] == [("places", 2)]
    assert graph.nodes["label"].tolist() == GRAPH.pruned().nodes["label"].tolist()


def test_a_view_that_says_nothing_of_groups_leaves_the_supernodes_of_the_graph(tmp_path):
    stored = with_supernodes(GRAPH, supernodes_by_hand(GRAPH, {"stored": ["0_7_2", "1_4_3"]}))
    for groups, expected in ((None, ["stored"]), ([], []), ([PLACES], ["places"])):
        graph = read_back(exported(stored, "json", [], groups)[0], tmp_path)
        assert [each.name for each in supernodes_of(graph)] == expected
        assert {each.method for each in supernodes_of(graph)} <= {BY_HAND, FROM_FILE}


def test_a_pinned_node_comes_along_though_pruning_dropped_it(tmp_path):
    ids = read_back(exported(GRAPH, "json", ["1_9_2"], None)[0], tmp_path).nodes["node_id"].tolist()
    assert len(ids) == len(GRAPH.pruned().nodes) + 1


def test_tables_come_as_an_archive_and_graphml_opens_in_networkx():
    body, name = exported(GRAPH, "csv", [], None)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        nodes, edges = (pd.read_csv(archive.open(f"{each}.csv")) for each in ("nodes", "edges"))
    assert name == "dallas-demo.zip"
    assert (len(nodes), len(edges)) == (len(GRAPH.pruned().nodes), len(GRAPH.pruned().edges))
    made = nx.parse_graphml(exported(GRAPH, "graphml", [], None)[0].decode())
    assert made.number_of_edges() == len(edges)


def test_the_same_view_gives_the_same_bytes():
    for format in FORMATS:
        assert exported(GRAPH, format, ["1_4_3"], [PLACES]) == exported(GRAPH, format, ["1_4_3"], [PLACES])
    assert set(FOLDERS) < set(FORMATS)


def test_another_format_is_refused_with_those_there_are():
    with pytest.raises(SettingError, match="'pt' is none that a page offers; expected one of json, graphml, csv"):
        exported(GRAPH, "pt", [], None)
