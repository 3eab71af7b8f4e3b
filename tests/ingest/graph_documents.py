"""Small graph files of other programs, as JSON values: the same circuit, Dallas -> Texas -> Austin, in each dialect."""

from typing import Any

from ingest.readers import KINDS
from tracer.graph import AttributionGraph

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


def one_name_for_two() -> Json:
    """Feature 1 of layer 0 is active where layer 1 has an error: both are `0_1_2` in old files."""
    document = circuit_tracer()
    document["nodes"].append(node("0_1_2", "c", activation=1.5))
    return document


def repairs(graph: AttributionGraph) -> dict[str, int]:
    return graph.metadata.provenance["repairs"]


def links_of(graph: AttributionGraph) -> dict[tuple[str, str], float]:
    ids = graph.nodes["node_id"].tolist()
    edges = graph.edges
    return {(ids[s], ids[t]): float(e) for s, t, e in zip(edges.source, edges.target, edges.effect, strict=True)}
