"""Rows become tables and pictures without losing or inventing anything."""

import math
import urllib.parse

import pytest

from app.figures import mini_path
from app.frames import (
    circuits_frame,
    circuits_table,
    edges_frame,
    graph_link,
    node_link,
    records_frame,
    returned_picture,
)
from circuits.config import SearchConfig
from circuits.pattern import parse_pattern
from circuits.search import find_circuits
from tests.app.graphs import capital_graph


def circuit_row() -> dict:
    [circuit] = find_circuits(parse_pattern("Dallas -> Texas -> Austin"), [capital_graph()], SearchConfig(k=3))
    return circuit.as_row()


def test_a_circuit_is_one_row_with_its_flow_in_percent_and_a_link_that_pins_its_path():
    row = circuit_row()
    frame = circuits_frame([row], "light")
    assert frame["flow"].tolist() == [100 * row["flow"]]
    assert frame["prompt"].tolist() == ["the Dallas is"]
    pins = ",".join(node["node_id"] for node in row["paths"][0]["nodes"])
    assert frame["open"].tolist() == [f"/?g={row['graph_id']}&pins={pins}"] == [graph_link(row)]


def test_the_flat_table_has_one_row_a_path_and_strength_is_the_product_of_its_shares():
    row = circuit_row()
    table = circuits_table([row])
    assert len(table) == len(row["paths"])
    for shares, strength in zip(table["shares"], table["strength"], strict=True):
        product = math.prod(float(share) for share in shares.split())
        assert product == pytest.approx(strength, rel=1e-4)


def test_the_edges_of_a_path_follow_each_other():
    frame = edges_frame(circuit_row()["paths"][0], "tiny/hand")
    assert frame["from"].tolist()[1:] == frame["to"].tolist()[:-1]
    assert frame["from"].iloc[0] == "Dallas"


def test_a_picture_escapes_labels_and_colours_by_sign():
    node = {"kind": "feature", "label": "<script>&", "node_id": "1_2_3", "layer": 1}
    svg = urllib.parse.unquote(mini_path([node, node], [{"effect": -1.0, "share": 0.2}], "light"))
    assert "<script>" not in svg and "&lt;script&gt;&amp;" in svg
    assert "#d9480f" in svg and "#1f6feb" not in svg


def test_nodes_and_relationships_are_drawn_once_however_often_a_query_returns_them():
    a = {
        "_kind": "node",
        "_id": "1",
        "_labels": ["Node", "Token"],
        "kind": "token",
        "label": " Dallas",
        "node_id": "E_1_2",
        "layer": -1,
    }
    b = {"_kind": "node", "_id": "2", "_labels": ["Feature"], "layer": 3, "index": 77}
    link = {
        "_kind": "relationship",
        "_id": "9",
        "_type": "AFFECTS",
        "_source": "1",
        "_target": "2",
        "share": 0.5,
        "effect": -2.0,
    }
    nodes, links = returned_picture([{"p": {"_kind": "path", "nodes": [a, b], "relationships": [link]}}, {"p": [a, b]}])
    assert [node["name"] for node in nodes] == ["Dallas", "L3 #77"]
    assert [(each["source"], each["target"], each["share"]) for each in links] == [("1", "2", -0.5)]


def test_a_relationship_without_its_nodes_is_not_drawn():
    link = {"_kind": "relationship", "_id": "9", "_type": "AFFECTS", "_source": "1", "_target": "2"}
    assert returned_picture([{"r": link}]) == ([], [])


def test_a_table_shows_nodes_and_lists_in_words():
    node = {"_kind": "node", "_id": "1", "_labels": ["Graph"], "slug": "demo"}
    frame = records_frame(
        ["n", "list", "k"], [{"n": node, "list": ["a", 1], "k": 5}, {"n": None, "list": None, "k": 6}]
    )
    assert frame["n"].tolist() == ["(demo:Graph)", None]
    assert frame["list"].tolist() == ["a, 1", None]
    assert frame["k"].tolist() == [5, 6]


def test_a_row_that_names_a_node_links_to_it():
    assert node_link({"graph_id": "ab", "node_id": "E_1_2"}) == "/?g=ab&sel=E_1_2"
    assert node_link({"graph_id": "ab"}) == "/?g=ab"
