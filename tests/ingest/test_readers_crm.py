"""Files of CRM, in which attention has features: kinds and details are kept, out and in again."""

import dataclasses
import json
import math

import networkx
import pandas as pd
import pytest

from ingest.library import Library
from ingest.load import find_graph
from ingest.readers import read_graph_file
from ingest.writers import write_graph
from tests.ingest.graph_documents import Json, crm, link, links_of, repairs
from tracer.schema import NodeKind


def test_attention_features_stand_between_the_mlps(read):
    graph = read(crm())
    assert repairs(graph) == {}
    assert graph.nodes[["node_id", "kind", "layer", "index"]].values.tolist() == [
        ["2_5_2", "feature", 2, 5],
        ["3_5_2", "feature", 3, 5],
        ["2_-1_2", "error", 2, -1],
        ["3_-1_2", "error", 3, -1],
        ["E_100_2", "token", -1, 100],
        ["2_11_2", "logit", 4, 11],
        ["B_0_0", "bias", 0, 0],
    ]
    assert len(graph.edges) == 6 and links_of(graph)["2_5_2", "3_5_2"] == 1.0
    assert graph.nodes["label"].tolist()[:2] == ["", "Texas"]  # the number of a feature is no label
    about = graph.metadata
    assert (about.n_layers, about.source_set) == (4, "tiny/tc+lorsa")
    assert about.provenance["pins"] == ["2_5_2"]
    assert "2l is its attention" in about.provenance["layers"]


def with_details() -> Json:
    """A file that tells more of attention: what a head looked at, and several biases of one layer."""
    document = crm()
    document["nodes"][1] |= {
        "qk_tracing_results": {"top_q_marginal_contributors": [["E_100_2", 0.5], ["0_bias_attn_bO_1", 0.25]]}
    }
    document["qk_only_nodes"] = {
        "0_cro_9_1": {
            "node_id": "0_cro_9_1", "feature_type": "cross layer transcoder", "layer": 0, "ctx_idx": 1,
            "jsNodeId": "0_9-1", "clerp": "", "feature": None,
        }
    }  # fmt: skip
    for name in ("lorsa_bQ", "attn_bO", "tc_bD"):
        more = {"node_id": f"0_bias_{name}_1", "clerp": f"L0 Bias ({name})", "ctx_idx": 1}
        document["nodes"].append(document["nodes"][5] | more)
        document["links"].append(link(more["node_id"], "1_lor_5_2", 0.25))
    return document


def test_every_bias_of_a_layer_is_a_node_of_its_own(read):
    graph = read(with_details())
    biases = graph.nodes[graph.slice_of(NodeKind.BIAS)]
    assert biases["node_id"].tolist() == ["B_0_0", "B_0_1", "B_1_0", "B_2_0"]
    assert biases["label"].tolist()[0] == "L0 Bias (attn_bO)" and len(set(biases["label"])) == 3
    assert len(graph.edges) == 9 and repairs(graph) == {}


@pytest.mark.parametrize("format", ["json", "anthropic", "parquet"])
def test_kinds_and_details_of_attention_survive_every_format_that_can_hold_them(read, tmp_path, format):
    graph = read(with_details())
    write_graph(graph, tmp_path / f"out.{format}", format)
    again = find_graph(str(tmp_path / f"out.{format}"), Library(tmp_path / "library"))
    assert again.graph_id == graph.graph_id
    assert again.nodes[["node_id", "layer", "index", "label"]].equals(
        graph.nodes[["node_id", "layer", "index", "label"]]
    )
    for name in ("layers", "node_details", "qk_only_nodes", "pins"):
        assert again.metadata.provenance[name] == graph.metadata.provenance[name], name
    assert again.metadata.provenance["node_details"]["2_5_2"]["qk_tracing_results"] == {
        "pair_wise_contributors": [],
        "top_q_marginal_contributors": [["E_100_2", 0.5], ["B_0_0", 0.25]],
        "top_k_marginal_contributors": [],
    }


def test_what_a_head_looked_at_is_found_among_the_nodes_of_the_file_that_is_written(read, tmp_path):
    write_graph(read(with_details()), tmp_path / "out.json", "json")
    written = json.loads((tmp_path / "out.json").read_text())
    ids = {node["node_id"] for node in written["nodes"]} | set(written["qk_only_nodes"])
    found = [node["qk_tracing_results"] for node in written["nodes"] if "qk_tracing_results" in node]
    assert {name for lists in found for rows in lists.values() for row in rows for name in row[:-1]} <= ids


ODD_DETAILS = {
    "no lists": ({"qk_tracing_results": [1, 2]}, 1),
    "a list that is none": ({"qk_tracing_results": {"pair_wise_contributors": {"a": 1}}}, 1),
    "rows that are none": ({"qk_tracing_results": {"top_q_marginal_contributors": [["x", 5, None], ["E", "5"], 7]}}, 3),
    "an attribution that is no number": ({"qk_tracing_results": {"top_k_marginal_contributors": [["E", math.nan]]}}, 1),
}


@pytest.mark.parametrize("name", ODD_DETAILS)
def test_details_of_another_form_are_left_out_and_counted(read, tmp_path, name):
    details, n = ODD_DETAILS[name]
    document = crm()
    document["nodes"][1] |= details
    document["qk_only_nodes"] = ["a list"]
    graph = read(document)
    assert repairs(graph) == {"values_of_wrong_kind": n + 1}
    write_graph(graph, tmp_path / "out.json", "json")
    assert "qk_" not in (tmp_path / "out.json").read_text()


def test_a_descriptor_without_what_the_schema_asks_for_is_left_out_and_counted(read):
    document = with_details()
    whole = document["qk_only_nodes"]["0_cro_9_1"]
    document["qk_only_nodes"] |= {"bare": {"node_id": "bare"}, "odd": whole | {"activation": "much"}}
    graph = read(document)
    assert repairs(graph) == {"values_of_wrong_kind": 2}
    assert set(graph.metadata.provenance["qk_only_nodes"]) == {"0_cro_9_1", "odd"}
    assert "activation" not in graph.metadata.provenance["qk_only_nodes"]["odd"]


def test_a_file_says_which_features_are_of_attention(read, tmp_path):
    write_graph(read(with_details()), tmp_path / "out.json", "json")
    nodes = {each["node_id"]: each for each in json.loads((tmp_path / "out.json").read_text())["nodes"]}
    assert {name: (each["feature_type"], each["layer"]) for name, each in nodes.items() if "bias" not in name} == {
        "1_lor_5_2": ("lorsa", "1"), "1_cro_5_2": ("cross layer transcoder", "1"),
        "1_error_attn_2": ("lorsa error", "1"), "1_error_mlp_2": ("mlp reconstruction error", "1"),
        "E_100_2": ("embedding", "E"), "2_11_2": ("logit", "3"),
    }  # fmt: skip


def test_what_pruning_leaves_of_it_is_the_same_graph_again(read, tmp_path):
    graph = read(with_details())
    keep = graph.nodes["node_id"].isin(["E_100_2", "3_5_2", "2_11_2", "B_2_0"])  # nothing of attention
    pruned = dataclasses.replace(graph, nodes=graph.nodes.assign(kept=keep)).pruned()
    write_graph(pruned, tmp_path / "out.json", "json")
    assert read_graph_file(tmp_path / "out.json").graph_id == pruned.graph_id


def test_tables_and_graphml_say_which_nodes_are_of_attention(read, tmp_path):
    graph = read(crm())
    expected = {"2_5_2": "attention", "3_5_2": "mlp", "2_-1_2": "attention", "3_-1_2": "mlp", "B_0_0": "attention"}
    write_graph(graph, tmp_path / "tables", "csv", whole=True)
    nodes = pd.read_csv(tmp_path / "tables" / "nodes.csv").set_index("node_id")["part"]
    assert nodes.dropna().to_dict() == expected and len(nodes) == 7
    write_graph(graph, tmp_path / "out.graphml", "graphml", whole=True)
    made = networkx.read_graphml(tmp_path / "out.graphml")
    assert networkx.get_node_attributes(made, "part") == expected
