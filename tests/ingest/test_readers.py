"""Files of other programs: what is read from them, what is repaired and counted, what is refused and why."""

import copy
import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.pattern import parse_pattern
from circuits.search import find_circuit
from ingest.readers import KINDS, REPAIRS, read_graph_file
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

REAL = Path(__file__).parents[2].parent / "shared" / "graphs"
INDEX = REAL / "INDEX.csv"
needs_real_files = pytest.mark.skipif(not INDEX.exists(), reason=f"no {INDEX}; own small files prove the same")

Json = dict[str, Any]


def node(file_id: str, kind: str, layer: str | int | None = None, **more: Any) -> Json:
    """A node as circuit-tracer writes it; `kind` by its first letter."""
    types = {kind[0]: kind for kind in reversed(KINDS)}
    first, _, position = file_id.split("_")
    return {
        "node_id": file_id,
        "feature": 12345,  # means something else in each program, so nothing may depend on it
        "layer": first if layer is None else layer,
        "ctx_idx": int(position),
        "feature_type": types[kind],
        "token_prob": 0.0,
        "is_target_logit": False,
        "jsNodeId": f"{first}_{position}-0",
        "clerp": "",
        "influence": 0.5,
        "activation": None,
    } | more


def link(source: str, target: str, weight: Any) -> Json:
    return {"source": source, "target": target, "weight": weight}


def circuit_tracer() -> Json:
    """Dallas -> Texas -> Austin over three layers, as circuit-tracer 0.4 and Neuronpedia write it."""
    return {
        "metadata": {
            "slug": "two-hops",
            "scan": "tiny",
            "transcoder_list": [],
            "prompt_tokens": ["<bos>", "In", " Dallas"],
            "prompt": "<bos>In Dallas",
            "node_threshold": 0.8,
            "info": {
                "creator_name": "Somebody",
                "source_urls": ["https://example.org/tiny/small-clt", "https://example.org/other"],
                "generator": {"name": "circuit-tracer by its authors", "version": "0.4"},
            },
        },
        "qParams": {"pinnedIds": ["1_7_2", "9_9_9"], "supernodes": [["Texas", "1_7_2", "0_5_2"]]},
        "nodes": [
            node("4_11_2", "l", token_prob=0.75, clerp='Output " Austin" (p=0.750)', influence=None),
            node("4_12_2", "l", token_prob=0.25, clerp='Output "a "b"" (p=0.250)', influence=None),
            node("E_100_2", "e", clerp='Emb: " Dallas"'),
            node("E_2_0", "e", clerp='Emb: " <bos>"'),
            node("0_1_2", "m", layer="1", clerp='Err: mlp " Dallas"'),
            node("1_7_2", "c", clerp=" Texas ", activation=2.5),
            node("0_5_2", "c", activation=1),
        ],
        "links": [
            link("E_100_2", "0_5_2", 2.0),
            link("E_100_2", "1_7_2", 3.0),
            link("E_2_0", "1_7_2", -1.0),
            link("0_5_2", "1_7_2", 1.0),
            link("1_7_2", "4_11_2", 4.0),
            link("0_1_2", "4_11_2", -1.0),
            link("0_1_2", "4_12_2", 1.0),
        ],
    }


def anthropic() -> Json:
    """The same as Anthropic's front end has it: opaque numbers, outputs right above the last layer, no influence."""
    document = circuit_tracer()
    document["metadata"] = {key: document["metadata"][key] for key in ("slug", "scan", "prompt_tokens", "prompt")}
    names = {"4_11_2": "3_99887766_2", "4_12_2": "3_99887765_2", "0_1_2": "0_55443322_2", "1_7_2": "2_70707070_2"}
    for each in document["nodes"]:
        each["node_id"] = names.get(each["node_id"], each["node_id"])
        first, index, position = each["node_id"].split("_")
        each["layer"], each["jsNodeId"] = first, f"{first}_{index}_-{2 - int(position)}"
        for gone in ("influence", "activation"):
            del each[gone]
    document["nodes"][0]["clerp"] = 'output: "Austin" (p=0.750)'
    for each in document["links"]:
        each |= {end: names.get(each[end], each[end]) for end in ("source", "target")}
    document["qParams"] = {"pinnedIds": ["2_70707070_-0"], "supernodes": [["Texas", "2_70707070_-0"]]}
    return document


@pytest.fixture
def read(tmp_path):
    """Writes a document into a file and reads it."""

    def write_and_read(document: Any, name: str = "given.json") -> AttributionGraph:
        path = tmp_path / name
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return read_graph_file(path)

    return write_and_read


def repairs(graph: AttributionGraph) -> dict[str, int]:
    return graph.metadata.provenance["repairs"]


def links_of(graph: AttributionGraph) -> dict[tuple[str, str], float]:
    ids = graph.nodes["node_id"].tolist()
    edges = graph.edges
    return {(ids[s], ids[t]): float(e) for s, t, e in zip(edges.source, edges.target, edges.effect, strict=True)}


# ------------------------------------------------------------------------------------------------------- what is read


def test_nodes_stand_by_kind_with_layer_index_and_position_from_their_ids(read):
    table = read(circuit_tracer()).nodes
    found = table[["node_id", "kind", "layer", "index", "position"]].values.tolist()
    assert found == [
        ["0_5_2", "feature", 0, 5, 2],
        ["1_7_2", "feature", 1, 7, 2],
        ["0_1_2", "error", 1, -1, 2],
        ["E_2_0", "token", -1, 2, 0],
        ["E_100_2", "token", -1, 100, 2],
        ["4_11_2", "logit", 3, 11, 2],
        ["4_12_2", "logit", 3, 12, 2],
    ]


def test_labels_are_unwrapped_and_say_whose_they_are(read):
    table = read(circuit_tracer()).nodes.set_index("node_id")
    assert table.loc["4_11_2", "label"] == " Austin"
    assert table.loc["4_12_2", "label"] == 'a "b"'
    assert table.loc["E_100_2", "label"] == " Dallas"
    assert table.loc["1_7_2", "label"] == "Texas"
    assert table.loc["1_7_2", "label_note"] == "from given.json (circuit-tracer, Somebody)"
    assert table.loc["0_1_2", "label"] == table.loc["0_5_2", "label_note"] == ""


def test_values_belong_to_their_kinds(read):
    table = read(circuit_tracer()).nodes.set_index("node_id")
    assert table.loc["1_7_2", "activation"] == 2.5 and math.isnan(table.loc["4_11_2", "activation"])
    assert table.loc["4_11_2", "probability"] == 0.75 and math.isnan(table.loc["1_7_2", "probability"])


def test_the_graph_says_what_it_is_of(read):
    about = read(circuit_tracer()).metadata
    assert (about.slug, about.prompt, about.tokens) == ("two-hops", "<bos>In Dallas", ("<bos>", "In", " Dallas"))
    assert (about.model, about.source_set, about.n_layers) == ("tiny", "tiny/small-clt", 3)
    assert (about.origin, about.complete) == ("circuit-tracer", False)
    assert about.provenance["file"] == "given.json" and len(about.provenance["sha256"]) == 64
    assert about.provenance["about"]["node_threshold"] == 0.8


def test_influence_is_computed_from_what_the_file_holds(read):
    graph = read(circuit_tracer())
    influence = dict(zip(graph.nodes["node_id"], graph.nodes["influence"], strict=True))
    assert influence["4_11_2"] == 0.75  # its probability: a walk visits the output it starts at
    assert influence["1_7_2"] == pytest.approx(0.75 * 4 / 5)
    assert influence["0_1_2"] == pytest.approx(0.75 * 1 / 5 + 0.25)
    assert influence["E_100_2"] == pytest.approx(0.75 * 4 / 5 * (3 / 5 + 1 / 5))


def test_pins_and_supernodes_come_along(read):
    provenance = read(circuit_tracer()).metadata.provenance
    assert provenance["pins"] == ["1_7_2"]
    assert provenance["supernodes"] == [{"label": "Texas", "members": ["1_7_2", "0_5_2"]}]
    assert provenance["repairs"] == {"unknown_pins": 1}


def test_a_file_of_anthropic_is_read(read):
    graph = read(anthropic())
    assert graph.metadata.origin == "anthropic"
    assert graph.metadata.n_layers == 3
    assert graph.metadata.source_set == "tiny"
    assert graph.metadata.provenance["pins"] == ["2_70707070_2"]
    assert graph.metadata.provenance["supernodes"] == [{"label": "Texas", "members": ["2_70707070_2"]}]
    error = graph.nodes.set_index("node_id").loc["0_55443322_2"]
    assert (error["kind"], error["layer"], error["index"]) == ("error", 0, -1)
    assert repairs(graph) == {}


@pytest.mark.parametrize("document", [circuit_tracer(), anthropic()], ids=["circuit-tracer", "anthropic"])
def test_dallas_texas_austin_is_found_in_it(read, document):
    circuit = find_circuit(parse_pattern("Dallas -> Texas -> Austin"), read(document))
    assert circuit is not None
    assert [each["label"] for each in circuit.as_row()["paths"][0]["nodes"]] == [
        " Dallas",
        "Texas",
        circuit.nodes[5].label,
    ]
    assert circuit.flow == pytest.approx(4 / 5 * (3 / 5 + 1 / 5))


def test_a_compressed_file_is_read_whatever_its_name(read):
    plain = read(circuit_tracer())
    assert read(gzip.compress(json.dumps(circuit_tracer()).encode()), "given.json.gz").graph_id == plain.graph_id
    assert read(gzip.compress(json.dumps(circuit_tracer()).encode())).graph_id == plain.graph_id


def test_the_order_in_the_file_does_not_matter(read):
    document = circuit_tracer()
    document["nodes"].reverse()
    document["links"].reverse()
    assert read(document).graph_id == read(circuit_tracer()).graph_id


def test_the_dictionary_is_the_named_set_then_the_first_source_then_scan(read):
    document = circuit_tracer()
    document["metadata"]["info"]["neuronpedia_source_set"] = "named"
    assert read(document, "other-model-clt.json").metadata.source_set == "tiny/named"
    del document["metadata"]["info"]
    document["metadata"]["scan"] = "somebody/tiny-transcoders"
    about = read(document).metadata
    assert (about.model, about.source_set) == ("somebody/tiny-transcoders", "somebody/tiny-transcoders")


def test_missing_extras_do_no_harm(read):
    document = circuit_tracer()
    del document["qParams"], document["metadata"]["info"], document["metadata"]["slug"]
    for each in document["nodes"]:
        for name in ("influence", "activation", "clerp", "layer", "ctx_idx", "token_prob", "jsNodeId", "feature"):
            del each[name]
    graph = read(document, "some-name.v2.json")
    assert graph.metadata.slug == "some-name"
    assert repairs(graph) == {}
    assert graph.nodes["influence"].max() > 0  # outputs of unknown probability weigh the same


def test_a_newer_error_id_is_kept(read):
    document = json.loads(json.dumps(circuit_tracer()).replace('"0_1_2"', '"1_-1_2"'))
    table = read(document).nodes.set_index("node_id")
    assert (table.loc["1_-1_2", "kind"], table.loc["1_-1_2", "layer"]) == ("error", 1)


def test_the_second_label_serves_where_the_first_is_empty(read):
    document = circuit_tracer()
    document["nodes"][-1]["ppClerp"] = "state"
    assert read(document).nodes["label"].iloc[0] == "state"


def test_a_graph_without_links_is_read(read):
    document = circuit_tracer() | {"links": []}
    assert len(read(document).edges) == 0


def crm() -> Json:
    """The same as OpenMOSS' CRM has it for Neuronpedia: attention features, the kind in the middle of ids."""

    def crm_node(file_id: str, feature_type: str, layer: int | str, **more: Any) -> Json:
        given = {"node_id": file_id, "jsNodeId": file_id, "feature": None, "feature_type": feature_type}
        return given | {"layer": layer, "ctx_idx": int(file_id.rpartition("_")[2]), "clerp": "", **more}

    return {
        "metadata": {
            "slug": "two-hops",
            "scan": "tiny",
            "prompt_tokens": ["<bos>", "In", " Dallas"],
            "prompt": "<bos>In Dallas",
            "info": {"generator": {"name": "llamascopium (CRM) by OpenMOSS", "version": "1"}},
            "pruning_settings": {"node_threshold": 0.8, "edge_threshold": 0.98},
            "feature_details": {"neuronpedia_source_set": "tc", "neuronpedia_lorsa_source_set": "lorsa"},
        },
        "qParams": {"pinnedIds": ["1_lor_5_2"]},
        "nodes": [
            crm_node("E_100_2", "embedding", "E", clerp='Emb: " Dallas"'),
            crm_node("1_lor_5_2", "lorsa", 1, clerp="F26", activation=1.5),
            crm_node("1_cro_5_2", "cross layer transcoder", 1, clerp="Texas", activation=2.5),
            crm_node("1_error_attn_2", "lorsa error", 1),
            crm_node("1_error_mlp_2", "mlp reconstruction error", 1),
            crm_node("0_bias_attn_bO_2", "bias", 0, clerp="L0 Bias (attn_bO)"),
            crm_node("2_11_2", "logit", 2, clerp='Logit " Austin" (p=0.750)', token_prob=0.75),
        ],
        "links": [
            link("E_100_2", "1_lor_5_2", 2.0),
            link("1_lor_5_2", "1_cro_5_2", 1.0),  # in one layer: attention acts on the MLP
            link("1_error_attn_2", "1_cro_5_2", -1.0),
            link("0_bias_attn_bO_2", "1_lor_5_2", 0.5),
            link("1_cro_5_2", "2_11_2", 4.0),
            link("1_error_mlp_2", "2_11_2", 1.0),
        ],
    }


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


def test_a_pruned_file_is_marked_with_its_thresholds(read):
    provenance = read(circuit_tracer()).metadata.provenance
    assert provenance["pruning"] == {"node_threshold": 0.8} and provenance["shares"] == "of what pruning left"
    document = circuit_tracer()
    document["metadata"] |= {"node_threshold": 1.0}
    provenance = read(document).metadata.provenance
    assert provenance["pruning"] is None and provenance["shares"] == "of what the file holds"


def test_marks_say_whose_they_are_and_from_which_file(read):
    (taken,) = read(circuit_tracer()).metadata.provenance["taken"]
    assert (taken["by"], taken["file"], taken["pins"]) == ("Somebody", "given.json", ["1_7_2"])
    assert taken["supernodes"] == [{"label": "Texas", "members": ["1_7_2", "0_5_2"]}] and taken["read_at"]


# --------------------------------------------------------------------------------------------------- what is repaired


def one_name_for_two() -> Json:
    """Feature 1 of layer 0 is active where layer 1 has an error: both are `0_1_2` in old files."""
    document = circuit_tracer()
    document["nodes"].append(node("0_1_2", "c", activation=1.5))
    return document


def test_an_error_named_like_a_feature_gets_the_name_of_newer_files(read):
    graph = read(one_name_for_two())
    kinds = dict(zip(graph.nodes["node_id"], graph.nodes["kind"], strict=True))
    assert kinds["0_1_2"] == "feature" and kinds["1_-1_2"] == "error"
    assert repairs(graph)["renamed_errors"] == 1


def test_the_end_of_a_link_with_two_meanings_is_decided_by_layers_or_left_out_and_counted(read):
    document = one_name_for_two()
    document["links"] += [link("E_100_2", "0_1_2", 5.0), link("0_1_2", "1_7_2", 6.0)]
    graph = read(document)
    found = links_of(graph)
    assert found["E_100_2", "0_1_2"] == 5.0  # an error has no inputs
    assert found["0_1_2", "1_7_2"] == 6.0  # an error of layer 1 does not reach layer 1
    assert not any(source in ("0_1_2", "1_-1_2") and target.startswith("4") for source, target in found)
    assert repairs(graph)["ambiguous_links"] == 2  # to the outputs either could go


@pytest.mark.parametrize(
    "extra, repair",
    [
        (link("7_7_7", "4_11_2", 1.0), "dangling_links"),
        (link("1_7_2", "8_8_8", 1.0), "dangling_links"),
        (link("1_7_2", "1_7_2", 1.0), "self_links"),
        (link("1_7_2", "0_5_2", 1.0), "backward_links"),
        (link("4_11_2", "1_7_2", 1.0), "backward_links"),
        (link("0_5_2", "4_11_2", 0), "zero_links"),
        (link("0_5_2", "4_11_2", 1e-60), "zero_links"),
        (link("1_7_2", "4_11_2", 4.0), "duplicate_links"),
        (link("1_7_2", "4_11_2", 5.0), "conflicting_links"),
    ],
)
def test_a_link_that_cannot_be_is_left_out_and_counted(read, extra, repair):
    document = circuit_tracer()
    document["links"].append(extra)
    graph = read(document)
    assert links_of(graph) == links_of(read(circuit_tracer()))
    assert repairs(graph) == {repair: 1, "unknown_pins": 1}


def test_links_may_be_called_edges_and_their_ends_be_objects(read):
    document = circuit_tracer()
    document["edges"] = [
        each | {"source": {"node_id": each["source"]}, "target": {"id": each["target"]}}
        for each in document.pop("links")
    ]
    graph = read(document)
    assert graph.graph_id == read(circuit_tracer()).graph_id
    assert (repairs(graph)["edges_for_links"], repairs(graph)["link_ends_as_objects"]) == (1, 14)


def test_numbers_written_as_text_are_read_and_counted(read):
    document = circuit_tracer()
    document["links"][0]["weight"] = "2.0"
    document["nodes"][5]["activation"] = "2.5"
    document["nodes"][0]["ctx_idx"] = "2"
    document["nodes"][6]["layer"] = 0
    graph = read(document)
    assert graph.graph_id == read(circuit_tracer()).graph_id
    assert repairs(graph)["numbers_as_text"] == 3


def test_a_node_given_twice_is_kept_once(read):
    document = circuit_tracer()
    document["nodes"] += [copy.deepcopy(document["nodes"][5]), document["nodes"][6] | {"activation": 9.0}]
    graph = read(document)
    assert graph.graph_id == read(circuit_tracer()).graph_id
    assert (repairs(graph)["duplicate_nodes"], repairs(graph)["conflicting_nodes"]) == (1, 1)


def test_ids_count_where_fields_differ_from_them(read):
    document = circuit_tracer()
    document["nodes"][5] |= {"layer": "2", "ctx_idx": 1}
    graph = read(document)
    assert graph.graph_id == read(circuit_tracer()).graph_id
    assert (repairs(graph)["layers_unlike_ids"], repairs(graph)["positions_unlike_ids"]) == (1, 1)


def test_a_missing_prompt_or_token_list_is_put_together(read):
    document = circuit_tracer()
    del document["metadata"]["prompt"], document["metadata"]["prompt_tokens"]
    graph = read(document)
    assert graph.metadata.tokens == (" <bos>", "", " Dallas")
    assert graph.metadata.prompt == " <bos> Dallas"
    assert (repairs(graph)["prompt_from_tokens"], repairs(graph)["tokens_from_nodes"]) == (1, 1)


def test_half_a_character_is_replaced_so_that_the_graph_can_be_saved(read, tmp_path):
    document = circuit_tracer()
    document["nodes"][5]["clerp"] = "Texas \ud800"
    document["metadata"]["prompt_tokens"][0] = "\udfff"
    graph = read(document)
    assert repairs(graph)["half_characters"] == 2
    graph.save(str(tmp_path / "saved"))
    assert AttributionGraph.load(str(tmp_path / "saved")).graph_id == graph.graph_id


def test_a_whole_character_is_kept(read):
    document = circuit_tracer()
    document["nodes"][5]["clerp"] = "Texas 🤠"  # json.dumps writes two escapes
    assert read(document).nodes["label"].iloc[1] == "Texas 🤠"


def test_marks_of_another_form_are_left_out_and_counted(read):
    document = circuit_tracer() | {"qParams": {"pinnedIds": "1_7_2", "supernodes": [["Texas", 3], ["x", "1_7"]]}}
    graph = read(document)
    assert repairs(graph)["unreadable_marks"] == 2
    assert graph.metadata.provenance["supernodes"] == [{"label": "x", "members": ["1_7_2"]}]  # one program's short form


def test_a_name_that_promises_another_model_is_counted_and_the_content_counts(read):
    document = circuit_tracer()
    document["metadata"]["scan"] = "mntss/gemma-scope-transcoders"
    graph = read(document, "dallas-austin-llamma.json")
    assert repairs(graph)["other_model_promised"] == 1
    assert graph.metadata.model == "mntss/gemma-scope-transcoders"
    assert "other_model_promised" not in repairs(read(document, "dallas-gemma-2.json"))
    assert "other_model_promised" not in repairs(read(document, "dallas-austin.json"))


def test_strict_reading_refuses_what_it_would_repair(tmp_path):
    path = tmp_path / "given.json"
    path.write_text(json.dumps(circuit_tracer()))
    with pytest.raises(GraphFormatError, match=r"given.json: 1 unknown_pins; expected a file without defects"):
        read_graph_file(path, strict=True)
    document = circuit_tracer() | {"qParams": {}}
    path.write_text(json.dumps(document))
    assert repairs(read_graph_file(path, strict=True)) == {}


# ---------------------------------------------------------------------------------------------------- what is refused


def change(**changes: Any) -> Json:
    """A good document with one node changed."""
    document = circuit_tracer()
    document["nodes"][5] |= changes
    return document


def weighing(weight: Any) -> Json:
    """A document with one link, of this weight."""
    return circuit_tracer() | {"links": [link("1_7_2", "4_11_2", weight)]}


@pytest.mark.parametrize(
    "document, message",
    [
        (b"", "not JSON"),
        (b'{"nodes": [', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"\x1f\x8b broken", "broken gzip"),
        (b"[" * 100_000, "nested more than a thousand deep"),
        ([1, 2], "a JSON list; expected an object"),
        ({"nodes": []}, "no `metadata`; expected the name of the model"),
        ({"metadata": {"scan": 7}}, "`metadata.scan` is 7"),
        (circuit_tracer() | {"nodes": []}, "no nodes; expected at least one"),
        (circuit_tracer() | {"nodes": [3]}, "`nodes`: 3; expected a list of objects"),
        (circuit_tracer() | {"links": None}, "`links`: None; expected a list of objects"),
        (change(node_id=None), "a node with the node_id None; expected a text"),
        (change(node_id="texas"), "a feature has the node_id 'texas'; expected the form layer_index_position"),
        (change(feature_type="molt"), "the feature_type 'molt'; expected one of cross layer transcoder, mlp"),
        (change(feature_type=None), "node '1_7_2' has the feature_type None"),
        (change(activation="much"), "activation of 1_7_2 is 'much'; expected a finite number"),
        (change(activation=True), "activation of 1_7_2 is True; expected a finite number"),
        (change(activation=1e39), "activation of 1_7_2 is 1e+39; expected a finite number"),
        (change(clerp=["Texas"]), "clerp of 1_7_2 is ['Texas']; expected a text"),
        (change(layer="E"), "the layer of 1_7_2 is 'E'; expected a number from 0"),
        (change(node_id="5000_7_2", layer="5000"), "5001 layers; expected at most 1000"),
        (change(node_id="1_7_3"), "a node at position 3 of a prompt with 3 tokens"),
        (
            circuit_tracer() | {"links": [link("1_7_2", "4_11_2", None)]},
            "the weight from '1_7_2' to '4_11_2' is missing",
        ),
        (circuit_tracer() | {"links": [link("1_7_2", "4_11_2", math.nan)]}, "is nan; expected a finite number"),
        (circuit_tracer() | {"links": [{"source": "1_7_2", "weight": 1}]}, "a link with the target None"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_not_understood_is_refused_with_file_sight_and_remedy(read, document, message):
    with pytest.raises(GraphFormatError) as refused:
        read(document)
    text = str(refused.value)
    assert text.startswith("given.json: ") and message in text
    assert "expected" in text and text.endswith(".")


def test_a_file_that_is_not_there_is_refused_by_its_path(tmp_path):
    with pytest.raises(GraphFormatError, match=r"nowhere.json: cannot be read .*; expected a graph in JSON"):
        read_graph_file(tmp_path / "nowhere.json")
    with pytest.raises(GraphFormatError, match="cannot be read"):
        read_graph_file(tmp_path)


def test_a_probability_beyond_one_is_refused(read):
    document = circuit_tracer()
    document["nodes"][0]["token_prob"] = 75
    with pytest.raises(GraphFormatError, match=r"the probability of 4_11_2 is 75.0; expected 0 to 1"):
        read(document)


# ------------------------------------------------------------------------------------------------------ mutated files

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["E", "-1", "0_5_2", "1_7_2", "1e999", "", "cross layer transcoder", "logit", 10**400, [], {}]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def mutated(draw: st.DrawFn) -> Json:
    """A good document with up to six values replaced, removed or doubled, anywhere in it."""
    document = draw(st.sampled_from([circuit_tracer, anthropic, one_name_for_two, crm]))()
    for _ in range(draw(st.integers(1, 6))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = draw(st.sampled_from(list(keys)))
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and draw(st.integers(0, 3)):
                place = inner
                continue
            how = draw(st.sampled_from(["replace", "remove", "double"]))
            if how == "replace":
                place[key] = draw(ODD_VALUES)
            elif how == "remove":
                del place[key]
            elif isinstance(place, list):
                place.append(copy.deepcopy(inner))
            break
    return document


def read_or_refused(path: Path) -> None:
    """Reads the file; a refusal is fine if it names the file, and a graph if it is whole."""
    try:
        graph = read_graph_file(path)
    except GraphFormatError as refused:
        assert str(refused).startswith(path.name)
        return
    assert set(repairs(graph)) <= set(REPAIRS)
    assert not graph.metadata.complete
    influence = graph.nodes["influence"].to_numpy()
    assert ((influence >= 0) & (influence <= 1)).all()
    json.dumps(graph.metadata.provenance)


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_file_is_read_or_refused_and_nothing_else(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_text(json.dumps(document))
    read_or_refused(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_with_damaged_bytes_is_read_or_refused_and_nothing_else(tmp_path_factory, data):
    content = bytearray(json.dumps(circuit_tracer()).encode())
    if data.draw(st.booleans()):
        content = bytearray(gzip.compress(bytes(content), mtime=0))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    read_or_refused(path)


# --------------------------------------------------------------------------------------------------------- real files


def index() -> list[dict[str, str]]:
    if not INDEX.exists():
        return []
    with INDEX.open() as file:
        return [row for row in csv.DictReader(file) if row["kind"].startswith("graph-json")]


NOT_GRAPHS = {"openmoss-atlas": "no `metadata`", "home-made source_id/target_id": "`metadata.scan` is None"}


@needs_real_files
@pytest.mark.parametrize("row", index(), ids=lambda row: row["path"])
def test_every_real_file_is_read_whole_or_refused_for_a_reason(row):
    if row["schema"] in NOT_GRAPHS:
        with pytest.raises(GraphFormatError, match=NOT_GRAPHS[row["schema"]]):
            read_graph_file(REAL / row["path"])
        return
    graph = read_graph_file(REAL / row["path"])
    columns = {"n_feature": "feature", "n_error": "error", "n_embedding": "token", "n_logit": "logit"}
    kinds = graph.nodes["kind"].tolist()
    assert {name: kinds.count(kind) for name, kind in columns.items()} == {name: int(row[name]) for name in columns}
    left_out = sum(n for name, n in repairs(graph).items() if name.endswith("_links"))
    assert len(graph.edges) == int(row["n_links"]) - left_out
    assert graph.metadata.model == row["model_scan"]
    assert graph.metadata.source_set.rpartition("/")[2] == row["source_set"].replace(":", "/").rpartition("/")[2]
    labels = graph.nodes["label"].to_numpy(object)
    assert np.count_nonzero(labels[graph.slice_of(NodeKind.FEATURE)] != "") == int(row["n_labelled_features"])
    assert np.count_nonzero(labels[graph.slice_of(NodeKind.TOKEN)] == "") == 0


@needs_real_files
@pytest.mark.parametrize("path", sorted(REAL.glob("features/**/*.json")), ids=lambda path: path.name)
def test_no_other_real_file_raises_anything_but_a_refusal(path):
    read_or_refused(path)


@needs_real_files
def test_the_known_walk_of_the_real_dallas_graph_is_its_strongest_path():
    path = next(REAL.glob("raw/*/gemma-fact-dallas-austin*5aafe0c2.json"))
    circuit = find_circuit(parse_pattern("Dallas -> Texas -> Austin"), read_graph_file(path))
    assert circuit is not None
    best = circuit.as_row()["paths"][0]
    assert [each["node_id"] for each in best["nodes"]] == ["E_26865_9", "20_15589_10", "27_22605_10"]
    assert [edge["effect"] for edge in best["edges"]] == pytest.approx([43.26, 5.31], abs=0.005)
    walks = [[circuit.nodes[row].node_id for row in each.rows] for each in circuit.paths]
    assert ["E_26865_9", "16_25_9", "27_22605_10"] in walks
    assert best["strength"] < circuit.flow < 1


@needs_real_files
def test_dallas_texas_austin_is_found_in_the_real_haiku_graph():
    graph = read_graph_file(next(REAL.glob("raw/mkenney2/capital-state-dallas*.json")))
    assert graph.metadata.origin == "anthropic"
    circuit = find_circuit(parse_pattern("Dallas -> *Texas* -> say Austin -> Austin"), graph)
    assert circuit is not None and circuit.flow > 0
    labels = [each["label"] for each in circuit.as_row()["paths"][0]["nodes"]]
    assert (labels[0], labels[-2], labels[-1]) == (" Dallas", "say Austin", "Austin")
    assert any("Texas" in label for label in labels)
    assert find_circuit(parse_pattern("Dallas -> Texas -> Austin"), graph) is not None
