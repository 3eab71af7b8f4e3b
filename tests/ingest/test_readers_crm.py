"""Files of CRM, in which attention has features: kinds and details are kept, out and in again."""

import dataclasses
import json

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
    document["nodes"][1] |= {"qk_tracing_results": {"top_q_marginal_contributors": [["E_100_2", 0.5]]}}
    document["qk_only_nodes"] = {"0_cro_9_1": {"node_id": "0_cro_9_1", "layer": 0}}
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
    assert again.metadata.provenance["node_details"]["2_5_2"] == {
        "qk_tracing_results": {"top_q_marginal_contributors": [["E_100_2", 0.5]]}
    }


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
