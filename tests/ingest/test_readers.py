"""Files of circuit-tracer and Neuronpedia: what is read from them, what is repaired and counted."""

import copy
import gzip
import json
import math

import pytest

from circuits.pattern import parse_pattern
from circuits.search import find_circuit
from ingest.readers import read_graph_file
from tests.ingest.graph_documents import (
    anthropic,
    circuit_tracer,
    link,
    links_of,
    one_name_for_two,
    repairs,
)
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph

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


def test_the_supernode_before_an_output_is_no_part_of_its_text(read):
    document = circuit_tracer()
    document["nodes"][0] |= {"clerp": '[Output "big" or [large]] Output "large" (p=0.420)', "token_prob": None}
    document["nodes"][1]["clerp"] = '[Output "x"] Output ""] Output "" (p=0.1)'
    table = read(document).nodes.set_index("node_id")
    assert table.loc["4_11_2", "label"] == "large" and table.loc["4_11_2", "probability"] == pytest.approx(0.42)
    assert table.loc["4_12_2", "label"] == '"] Output "'


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


def test_of_links_and_edges_the_one_that_is_not_empty_is_read(read):
    document = circuit_tracer()
    for links, edges in (([], document["links"]), (None, document["links"]), (document["links"], [])):
        graph = read(document | {"links": links, "edges": edges})
        assert graph.graph_id == read(circuit_tracer()).graph_id
        assert repairs(graph).get("edges_for_links", 0) == (not links)
        assert "edges_beside_links" not in repairs(graph)
    assert repairs(read(document | {"links": [], "edges": []})) == {"unknown_pins": 1}


@pytest.mark.parametrize("first", ["links", "edges"])
def test_edges_beside_links_are_left_out_and_counted(read, first):
    links = circuit_tracer()["links"]
    edges = [links[0] | {"weight": "9"}, links[1] | {"source": {"id": links[1]["source"]}}]
    lists = {"links": links, "edges": edges}
    document = {first: lists[first]} | circuit_tracer() | lists
    graph = read(document)
    assert links_of(graph) == links_of(read(circuit_tracer()))
    assert repairs(graph) == {"edges_beside_links": 2, "unknown_pins": 1}


@pytest.mark.parametrize(
    "place, name, value",
    [
        (None, "node_threshold", None),
        (None, "node_threshold", math.nan),
        (None, "node_threshold", "0.8"),
        (None, "info", "x"),
        (None, "generation_settings", "x"),
        ("info", "create_time_ms", "yesterday"),
        ("info", "source_urls", "x"),
        ("info", "generator", {"version": 4}),
        ("generation_settings", "batch_size", 1.5),
        ("generation_settings", "batch_size", True),
        ("pruning_settings", "edge_threshold", []),
        ("feature_details", "neuronpedia_source_set", 3),
    ],
)
def test_a_setting_of_the_wrong_kind_is_left_out_and_counted(read, place, name, value):
    document = circuit_tracer()
    about = document["metadata"] if place is None else document["metadata"].setdefault(place, {})
    about[name] = value
    graph = read(document)
    assert repairs(graph)["values_of_wrong_kind"] == 1
    kept = graph.metadata.provenance["about"]
    assert not (kept if place is None else kept[place]).get(name)


def test_settings_of_the_right_kind_and_unknown_ones_are_kept(read):
    document = circuit_tracer()
    settings = {"batch_size": 64.0, "desired_logit_prob": 1, "own": [None]}
    document["metadata"]["generation_settings"] = settings
    graph = read(document)
    assert graph.metadata.provenance["about"]["generation_settings"] == settings
    assert "values_of_wrong_kind" not in repairs(graph)


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


@pytest.mark.parametrize("marks", [[["1_7_2"]], "1_7_2", {"supernodes": {"Texas": ["1_7_2"]}}])
def test_marks_that_are_no_lists_are_counted(read, marks):
    graph = read(circuit_tracer() | {"qParams": marks})
    assert repairs(graph)["unreadable_marks"] == 1
    assert graph.metadata.provenance["pins"] == graph.metadata.provenance["supernodes"] == []


def test_a_name_that_promises_another_model_is_counted_and_the_content_counts(read):
    document = circuit_tracer()
    document["metadata"]["scan"] = "mntss/gemma-scope-transcoders"
    graph = read(document, "dallas-austin-llamma.json")
    assert repairs(graph)["other_model_promised"] == 1
    assert graph.metadata.model == "mntss/gemma-scope-transcoders"
    assert "other_model_promised" not in repairs(read(document, "dallas-gemma-2.json"))
    assert "other_model_promised" not in repairs(read(document, "dallas-austin.json"))


@pytest.mark.parametrize(
    "name, promised",
    [
        ("gemma-3-4b-dallas.json", True),
        ("Gemma2_9B.json", True),
        ("gemma-2-2b-dallas.json", False),
        ("gemma-2-9b-against-gemma-2-2b.json", False),
        ("gemma-2-dallas-9b.json", False),
        ("gemma-2-4bit.json", False),
    ],
)
def test_a_name_that_promises_another_model_of_the_family_is_counted(read, name, promised):
    document = circuit_tracer()
    document["metadata"]["scan"] = "gemma-2-2b"
    assert ("other_model_promised" in repairs(read(document, name))) == promised
    document["metadata"]["scan"] = "mntss/gemma-scope-transcoders"
    assert "other_model_promised" not in repairs(read(document, name))


def test_strict_reading_refuses_what_it_would_repair(tmp_path):
    path = tmp_path / "given.json"
    path.write_text(json.dumps(circuit_tracer()))
    with pytest.raises(GraphFormatError, match=r"given.json: 1 unknown_pins; expected a file without defects"):
        read_graph_file(path, strict=True)
    document = circuit_tracer() | {"qParams": {}}
    path.write_text(json.dumps(document))
    assert repairs(read_graph_file(path, strict=True)) == {}
