"""Other people's graph files, read into an AttributionGraph or refused with the reason.

Read are the JSON files (also gzipped) of circuit-tracer, of Neuronpedia and of Anthropic's static front end. What a
file says is taken from where it cannot be wrong: kinds from `feature_type`, layer and index of a feature from its id
(three numberings are in use for `feature`), the model from `scan`. Where a file contradicts itself in a way that has
one safe answer, that answer is taken and counted in `metadata.provenance["repairs"]` by a name of `ingest.repairs`;
anything else is refused.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ingest.attention_details import FIELDS as DETAIL_FIELDS
from ingest.attention_details import read_details
from ingest.documents import Document, number_in, read_document, short, without_nan
from ingest.links import Links
from ingest.sources import Source
from ingest.tensors import read_tensor_graph
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph, GraphMetadata
from tracer.influence import influence
from tracer.schema import NodeKind, node_id

KINDS = {
    "cross layer transcoder": NodeKind.FEATURE,  # files name per-layer transcoders so, too
    "mlp reconstruction error": NodeKind.ERROR,
    "embedding": NodeKind.TOKEN,
    "logit": NodeKind.LOGIT,
    "bias": NodeKind.BIAS,  # our own, and of CRM
    "lorsa": NodeKind.FEATURE,  # of attention, in graphs of CRM
    "lorsa error": NodeKind.ERROR,
}
ATTENTION = ("lorsa", "lorsa error")
KIND_ORDER = {kind: place for place, kind in enumerate(NodeKind)}
MAX_LAYERS = 1_000  # no model has more; a larger number is a damaged file
MAX_TOKENS = 1_000_000  # likewise
FEATURE_ID = re.compile(r"(\d{1,9})_(\d{1,18})_(\d{1,9})", re.ASCII)
ERROR_ID = re.compile(r"(\d{1,9})_(-1|\d{1,18})_(\d{1,9})", re.ASCII)
CRM_FEATURE_ID = re.compile(r"(\d{1,9})_(?:lor|cro)_(\d{1,18})_(\d{1,9})", re.ASCII)
CRM_ERROR_ID = re.compile(r"(\d{1,9})_error_(?:attn_|mlp_)?(\d{1,9})", re.ASCII)
CRM_BIAS_ID = re.compile(r"(\d{1,9})_bias_\w{1,40}_(\d{1,9})", re.ASCII)
OWN_BIAS = re.compile(r"_bias_(?:attn|mlp)_n(\d{1,9})_", re.ASCII)  # as our own export numbers them
CRM_TEXT = re.compile(r"\s*F\d+\s*", re.ASCII)  # the number of a feature where its label would stand
TOKEN_ID = re.compile(r"(?:E|-1)_(\d{1,18})_(\d{1,9})", re.ASCII)
BIAS_ID = re.compile(r"B_(\d{1,18})_(-1|\d{1,9})", re.ASCII)
MODEL_FAMILY = re.compile("gemma|llam+a|qwen|gpt|pythia|mistral|haiku|claude|olmo|phi(?![a-z])", re.IGNORECASE)
MODEL_NAME = re.compile(
    rf"({MODEL_FAMILY.pattern})[-_ ]?v?(\d+(?:\.\d+)?)[-_ ](\d+(?:\.\d+)?[bm])(?![a-z\d])", re.ASCII | re.IGNORECASE
)
OUTPUT_TEXT = re.compile(  # in brackets before it, the supernode that some files name there
    r'\s*(?:\[.{,200}?\]\s*)?(?:output|logit):?\s*"(.*)"\s*\(p=([\d.eE+?-]+)\)\s*', re.DOTALL | re.IGNORECASE
)
TOKEN_TEXT = re.compile(r'\s*emb:?\s*"(.*)"\s*', re.DOTALL | re.IGNORECASE)
ANTHROPIC_JS_ID = re.compile(r"\w+_-\d+")  # Anthropic's front end counts positions from the end


def read_graph_file(place: str | Path | Source, strict: bool = False) -> AttributionGraph:
    """The graph in a JSON file of circuit-tracer, Neuronpedia, CRM or Anthropic's front end, or in a `.pt` file.

    Args:
        place: A file, or a member of an archive.
        strict: Refuse a file that would have to be repaired.

    Returns:
        A graph with `complete=False`: these files are pruned, so shares and influence are computed on what the file
        holds. Node ids are those of the file where they are unique. `metadata.provenance` has the file's name, hash,
        settings, pins, supernodes, and under `repairs` how often each of `ingest.repairs` was needed.

    Raises:
        GraphFormatError: The file cannot be read or understood; says the file, what was seen, what was expected.
    """
    source = place if isinstance(place, Source) else Source(Path(place))
    digest, size = source.digest()
    provenance = {"file": source.name, "sha256": digest, "bytes": size, "read_at": datetime.now(UTC).isoformat()}
    try:
        if source.name.lower().endswith(".pt"):
            graph = read_tensor_graph(source, provenance)
        else:
            handlers = {"nodes": _NodeEntries, "links": Links, "edges": Links}
            graph = _graph(read_document(source, handlers), source.name.partition(".")[0], provenance)
    except GraphFormatError as error:
        if source.name in str(error):
            raise
        raise GraphFormatError(f"{source.name}: {error}") from None
    repairs = graph.metadata.provenance["repairs"]
    if strict and repairs:
        found = ", ".join(f"{n} {name}" for name, n in repairs.items())
        raise GraphFormatError(
            f"{source.name}: {found}; expected a file without defects, as strict reading was asked for. Correct the "
            "file, or read it without --strict, which repairs this."
        )
    return graph


class _NodeEntries:
    """Takes the items of the list of nodes, of each what is read from it."""

    def __init__(self, file: Document):
        self.entries: list[Any] = []

    def __call__(self, entry: Any) -> None:
        if isinstance(entry, dict):
            entry = {name: entry[name] for name in NODE_FIELDS if name in entry}
        self.entries.append(entry)


NODE_FIELDS = (
    "node_id", "feature_type", "layer", "ctx_idx", "clerp", "ppClerp", "token_prob", "activation", "influence",
    "jsNodeId", "label_note", *DETAIL_FIELDS,
)  # fmt: skip
LAYERS_NOTE = "each layer of the model counts twice: 2l is its attention, 2l + 1 its MLP"


class _Node(NamedTuple):
    file_id: str
    js_id: str
    kind: NodeKind
    layer: int
    position: int
    index: int
    label: str
    label_note: str
    activation: float
    probability: float


# --------------------------------------------------------------------------------------------- from JSON to a graph


def _graph(file: Document, stem: str, provenance: dict[str, Any]) -> AttributionGraph:
    about = file.root.get("metadata")
    if not isinstance(about, dict) or not isinstance(about.get("scan"), str) or not about["scan"].strip():
        seen = "no `metadata`" if not isinstance(about, dict) else f"`metadata.scan` is {short(about.get('scan'))}"
        raise file.refused(seen, "the name of the model or dictionary in `metadata.scan`", _FORMATS)
    origin = _origin(about, file)
    nodes, n_layers = _nodes(file, _note(file, about, origin))
    tokens = _tokens(file, about, nodes)
    nodes = [node._replace(label=tokens[node.position]) if node.kind is NodeKind.TOKEN else node for node in nodes]
    ids = _unique_ids(file, nodes, n_layers)
    source, target, weight = _links(file, nodes)
    marks, view = _marks(file, nodes, ids)
    provenance |= marks | {"taken": [_taken(provenance, about, marks) | {"view": view}]}
    provenance |= {"about": file.fitting(without_nan({key: about[key] for key in ABOUT if key in about}), ABOUT)}
    provenance |= {"influence": _influence_note(file), "pruning": _pruning(about)}
    provenance |= {"shares": "of what pruning left" if provenance["pruning"] else "of what the file holds"}
    if _has_attention(file):
        ours = {node.file_id: node_id for node, node_id in zip(nodes, ids, strict=True)}
        provenance |= {"layers": LAYERS_NOTE} | read_details(file, _entries(file), ours)
    _check_promise(file, about)
    prompt = file.text(about.get("prompt"), "`metadata.prompt`")
    if not prompt:
        file.repairs["prompt_from_tokens"] += 1
    ours = _ours(file)
    metadata = GraphMetadata(
        slug=file.text(ours.get("slug"), "`slug`") or file.text(about.get("slug"), "`metadata.slug`") or stem,
        prompt=prompt or "".join(tokens),
        tokens=tuple(tokens),
        model=file.text(ours.get("model"), "`model`") or about["scan"].strip(),
        source_set=file.text(ours.get("source_set"), "`source_set`") or _source_set(about),
        n_layers=n_layers,
        origin=origin,
        complete=False,
        target=file.text(ours.get("target"), "`target`") or "logit",
        roles={key: text for key, text in _object(ours.get("roles")).items() if isinstance(text, str)},
        replacement_score=_score(file, ours, "replacement_score"),
        completeness_score=_score(file, ours, "completeness_score"),
        provenance=provenance | {"repairs": {name: n for name, n in file.repairs.items() if n}},
    )
    table = pd.DataFrame(nodes, columns=list(_Node._fields)).drop(columns=["file_id", "js_id"])
    table.insert(0, "node_id", ids)
    return _with_influence(AttributionGraph.build(table, source, target, weight, metadata))


ABOUT = {  # what is kept as the file has it, by its kind in the public schema, which leaves open what is an object here
    "info": {
        "description": str, "creator_name": str, "creator_url": str, "source_urls": list, "create_time_ms": float,
        "generator": {"name": str, "version": str, "url": str, "email": str},
    },
    "schema_version": object, "transcoder_list": object, "_derived": object,
    "generation_settings": {
        "max_n_logits": int, "desired_logit_prob": float, "batch_size": int, "max_feature_nodes": int
    },
    "pruning_settings": {"node_threshold": float, "edge_threshold": float},
    "node_threshold": float,
    "feature_details": {
        "feature_json_base_url": str, "neuronpedia_source_set": str, "neuronpedia_lorsa_source_set": str
    },
}  # fmt: skip
VIEW = {"linkType": str, "clickedId": str, "sg_pos": str}  # beside the marks
_FORMATS = "Give a graph that circuit-tracer, Neuronpedia or Anthropic's front end wrote."


def _origin(about: dict[str, Any], file: Document) -> str:
    """The program that computed the graph, as far as the file shows."""
    ours = _object(about.get("throughline")).get("origin")
    if isinstance(ours, str) and ours.strip():
        return ours.strip()
    name = _object(_object(about.get("info")).get("generator")).get("name")
    if isinstance(name, str) and name.strip():
        return "circuit-tracer" if "circuit-tracer" in name else name.strip()
    if "transcoder_list" in about or "schema_version" in about:
        return "circuit-tracer"
    nodes = _entries(file)
    first = nodes[0] if isinstance(nodes, list) and nodes and isinstance(nodes[0], dict) else {}
    js_id = first.get("jsNodeId")
    return "anthropic" if isinstance(js_id, str) and ANTHROPIC_JS_ID.fullmatch(js_id) else "unknown"


def _entries(file: Document) -> Any:
    """The list of nodes, or what stands in its place."""
    nodes = file.root.get("nodes")
    return nodes.entries if isinstance(nodes, _NodeEntries) else nodes


def _score(file: Document, ours: dict[str, Any], name: str) -> float | None:
    """A score of the whole graph, which cannot be computed from what a file holds."""
    score = file.number(ours.get(name), f"`{name}`")
    return None if math.isnan(score) else score


def _source_set(about: dict[str, Any]) -> str:
    """The feature dictionary: the set's name after the model's, or `scan` alone where that names a dictionary."""
    scan = about["scan"].strip()
    info, details = _object(about.get("info")), _object(about.get("feature_details"))
    urls = info.get("source_urls")
    first = urls[0] if isinstance(urls, list) and urls else None
    attention = details.get("neuronpedia_lorsa_source_set")
    more = f"+{attention.strip(' /')}" if isinstance(attention, str) and attention.strip(" /") else ""
    for name in (info.get("neuronpedia_source_set"), details.get("neuronpedia_source_set"), first):
        if isinstance(name, str) and name.strip(" /"):
            return f"{scan}/{name.strip(' /').rpartition('/')[2]}{more}"
    return scan


def _note(file: Document, about: dict[str, Any], origin: str) -> str:
    """Where the labels of this file come from."""
    creator = _object(about.get("info")).get("creator_name")
    return f"from {file.name} ({origin}{f', {creator}' if isinstance(creator, str) and creator.strip() else ''})"


def _taken(provenance: dict[str, Any], about: dict[str, Any], marks: dict[str, Any]) -> dict[str, Any]:
    """Whose pins and supernodes these are, from which file, and when they came."""
    creator = _object(about.get("info")).get("creator_name")
    kept = {name: provenance[name] for name in ("file", "sha256", "read_at")}
    return kept | {"by": creator if isinstance(creator, str) else "", **marks}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pruning(about: dict[str, Any]) -> dict[str, float] | None:
    """The thresholds by which the graph was pruned before it was written; None where the file names none below 1."""
    settings = {"node_threshold": about.get("node_threshold")} | _object(about.get("pruning_settings"))
    found: dict[str, float] = {}
    for name in ("node_threshold", "edge_threshold"):
        value = settings.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value < 1:
            found[name] = value
    return found or None


def _check_promise(file: Document, about: dict[str, Any]) -> None:
    """Count a file whose name speaks of another model than it holds; what it holds counts."""
    content = f"{about['scan']} {_source_set(about)}"
    named = ((names(file.name), names(content)) for names in (families, models))
    file.repairs["other_model_promised"] += any(told and held and not told & held for told, held in named)


def families(text: str) -> set[str]:
    """The families of models that a text names.

    >>> families("dallas-austin-llamma.json"), families("mntss/gemma-scope-transcoders")
    ({'llama'}, {'gemma'})
    """
    return {_family(found) for found in MODEL_FAMILY.findall(text)}


def models(text: str) -> set[str]:
    """The models that a text names in full, by family, version and size.

    >>> models("Gemma2-9B-dallas.json"), models("mntss/clt-llama-3.2-1b-524k"), models("gemma-scope-2b")
    ({'gemma 2 9b'}, {'llama 3.2 1b'}, set())
    """
    return {f"{_family(family)} {version} {size.lower()}" for family, version, size in MODEL_NAME.findall(text)}


def _family(found: str) -> str:
    return re.sub("m+", "m", found.lower()) if "llam" in found.lower() else found.lower()


def _influence_note(file: Document) -> str:
    has = any(node.get("influence") is not None for node in _entries(file))
    return "computed on the links of the file, like the shares" + (
        "; the file's own values, mostly cumulative, are not kept" if has else ""
    )


def _with_influence(graph: AttributionGraph) -> AttributionGraph:
    weight_N = graph.logit_weight_N
    weight_N = weight_N / max(weight_N.sum(), 1e-30)  # a walk starts somewhere, so that influence is a chance
    edges = graph.edges
    visited_N = influence(edges.source, edges.target, edges.effect, weight_N) + weight_N
    nodes = graph.nodes.assign(influence=np.minimum(visited_N, 1).astype(np.float32))
    return dataclasses.replace(graph, nodes=nodes)


# ------------------------------------------------------------------------------------------------------------ nodes


def _nodes(file: Document, note: str) -> tuple[list[_Node], int]:
    """The nodes in our order, each once, and the number of layers of the model."""
    entries = file.list_of(dict, _entries(file), "`nodes`")
    if not entries:
        raise file.refused("no nodes", "at least one", "Trace the prompt again with a higher threshold.")
    nodes = [_node(file, entry, note) for entry in entries]
    if _has_attention(file):
        nodes = _numbered([_halved(node, entry) for node, entry in zip(nodes, entries, strict=True)])
    top = max((node.layer for node in nodes if node.kind is not NodeKind.LOGIT), default=-1) + 1
    # circuit-tracer puts outputs at n_layers + 1, Anthropic at n_layers: whichever is above all features.
    given = _ours(file).get("n_layers")  # what pruning left may not show the last layers
    n_layers = max([top, 0, *(node.layer - 1 for node in nodes if node.kind is NodeKind.LOGIT)])
    n_layers = given if type(given) is int and given > n_layers else n_layers
    if n_layers > MAX_LAYERS:
        raise file.refused(f"{n_layers} layers", f"at most {MAX_LAYERS}", "Write the file again.")
    nodes = [node._replace(layer=n_layers) if node.kind is NodeKind.LOGIT else node for node in nodes]
    return sorted(_each_once(file, nodes), key=_place), n_layers


def _has_attention(file: Document) -> bool:
    """Whether features of attention are among the nodes; they and those of the MLP then have layers of their own."""
    return "layers" in _ours(file) or any(_type(entry) in ATTENTION for entry in _entries(file))


def _ours(file: Document) -> dict[str, Any]:
    """What our own export adds."""
    return _object(_object(file.root.get("metadata")).get("throughline"))


def _halved(node: _Node, entry: dict[str, Any]) -> _Node:
    """The node where each layer counts twice: attention, which acts on the MLP of its layer, then the MLP."""
    if node.kind in (NodeKind.TOKEN, NodeKind.LOGIT):
        return node._replace(layer=2 * node.layer - 1 if node.kind is NodeKind.LOGIT else node.layer)
    bias = node.kind is NodeKind.BIAS and re.search("lorsa|attn", node.file_id)
    return node._replace(layer=2 * node.layer + (0 if bias or _type(entry) in ATTENTION else 1))


def _numbered(nodes: list[_Node]) -> list[_Node]:
    """The nodes with a number for each bias of a layer, which has a name and a position in CRM."""
    number: dict[str, int] = {}
    used: Counter[int] = Counter()
    biases = [node for node in nodes if node.kind is NodeKind.BIAS]
    for layer, file_id in sorted({(node.layer, node.file_id) for node in biases}):
        ours = OWN_BIAS.search(file_id)
        number[file_id] = int(ours[1]) if ours else used[layer]
        used[layer] += 1
    return [node._replace(index=number[node.file_id]) if node.kind is NodeKind.BIAS else node for node in nodes]


def _type(entry: dict[str, Any]) -> str:
    named = entry.get("feature_type")
    return re.sub(r"[\s_-]+", " ", named).strip().casefold() if isinstance(named, str) else ""


def _place(node: _Node) -> tuple:
    if node.kind is NodeKind.BIAS:
        return KIND_ORDER[node.kind], node.index, node.layer
    chance = node.probability if node.probability == node.probability else 0.0
    return KIND_ORDER[node.kind], node.layer, node.position, -chance, node.index


def _node(file: Document, entry: dict[str, Any], note: str) -> _Node:
    file_id = entry.get("node_id")
    if not isinstance(file_id, str):
        raise file.refused(f"a node with the node_id {short(file_id)}", "a text", _FORMATS)
    kind = _kind(file, entry, file_id)
    layer, index, position = _parsed_id(file, entry, file_id, kind)
    given = file.number(entry.get("ctx_idx"), f"ctx_idx of {file_id}")
    if not math.isnan(given) and given != position and kind is not NodeKind.BIAS:  # a bias has no position
        file.repairs["positions_unlike_ids"] += 1
    clerps = [file.text(entry.get(name), f"{name} of {file_id}") for name in ("clerp", "ppClerp")]
    clerp = clerps[0] or clerps[1]
    label, probability = "" if CRM_TEXT.fullmatch(clerp) else clerp.strip(), math.nan
    if kind is NodeKind.LOGIT:
        label, probability = _output(file, entry, file_id, clerp)
    elif kind is NodeKind.TOKEN:
        unwrapped = TOKEN_TEXT.fullmatch(clerp)
        label = unwrapped[1] if unwrapped else clerp
    elif kind is NodeKind.ERROR:
        label = ""
    elif written := file.text(entry.get("label_note"), f"label_note of {file_id}"):
        note = written
    activation = file.number(entry.get("activation"), f"activation of {file_id}")
    js_id = entry.get("jsNodeId")
    return _Node(
        file_id,
        js_id if isinstance(js_id, str) else "",
        kind,
        layer,
        position,
        index,
        label,
        note if label and kind is NodeKind.FEATURE else "",
        activation if kind is NodeKind.FEATURE else math.nan,
        probability,
    )


def _kind(file: Document, entry: dict[str, Any], file_id: str) -> NodeKind:
    kind, named = KINDS.get(_type(entry)), entry.get("feature_type")
    if kind is None:
        raise file.refused(
            f"node {short(file_id)} has the feature_type {short(named)}",
            f"one of {', '.join(KINDS)}",
            "Graphs of other tools cannot be read; leave this file out.",
        )
    return kind


def _parsed_id(file: Document, entry: dict[str, Any], file_id: str, kind: NodeKind) -> tuple[int, int, int]:
    """Layer, index and position by the node's id."""
    forms = {
        NodeKind.FEATURE: (FEATURE_ID, "layer_index_position"),
        NodeKind.LOGIT: (FEATURE_ID, "layer_index_position"),
        NodeKind.ERROR: (ERROR_ID, "0_layer_position or layer_-1_position"),
        NodeKind.TOKEN: (TOKEN_ID, "E_index_position"),
        NodeKind.BIAS: (BIAS_ID, "B_index_layer"),
    }
    form, shape = forms[kind]
    parts = form.fullmatch(file_id) or _crm_id(kind, file_id)
    if not parts:
        raise file.refused(f"a {kind} has the node_id {short(file_id)}", f"the form {shape}", _FORMATS)
    if kind is NodeKind.TOKEN:
        return -1, int(parts[1]), int(parts[2])
    if kind is NodeKind.BIAS:
        ours = parts.re is BIAS_ID
        return (int(parts[2]), int(parts[1]), -1) if ours else (int(parts[1]), 0, -1)
    if parts.re is CRM_ERROR_ID:
        return int(parts[1]), -1, int(parts[2])
    layer, index, position = int(parts[1]), int(parts[2]), int(parts[3])
    if kind is NodeKind.ERROR:
        index = -1
        if entry.get("layer") is not None:
            layer = _layer(file, entry["layer"], file_id)
        elif parts[2] != "-1":  # the old form, which has the layer second
            layer = int(parts[2])
    elif kind is NodeKind.FEATURE and entry.get("layer") is not None:
        file.repairs["layers_unlike_ids"] += _layer(file, entry["layer"], file_id) != layer
    return layer, index, position


def _crm_id(kind: NodeKind, file_id: str) -> re.Match[str] | None:
    """The parts of an id of CRM, which names the kind in the middle."""
    forms = {NodeKind.FEATURE: CRM_FEATURE_ID, NodeKind.ERROR: CRM_ERROR_ID, NodeKind.BIAS: CRM_BIAS_ID}
    return forms[kind].fullmatch(file_id) if kind in forms else None


def _layer(file: Document, value: Any, file_id: str) -> int:
    """Layers are written as digits in quotes by most programs: no repair."""
    digits = value if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}(\.0)?", digits, re.ASCII):
        raise file.refused(f"the layer of {file_id} is {short(value)}", "a number from 0", "Write the file again.")
    return int(digits.removesuffix(".0"))


def _output(file: Document, entry: dict[str, Any], file_id: str, clerp: str) -> tuple[str, float]:
    """Text and probability of an output; the text is wrapped as in `Output " Austin" (p=0.450)`."""
    wrapped = OUTPUT_TEXT.fullmatch(clerp)
    probability = file.number(entry.get("token_prob"), f"token_prob of {file_id}")
    if wrapped and math.isnan(probability):
        probability = number_in(wrapped[2])
    if probability < 0 or probability > 1.001:  # some files round
        raise file.refused(f"the probability of {file_id} is {probability}", "0 to 1", "Write the file again.")
    return (wrapped[1] if wrapped else clerp), probability


def _each_once(file: Document, nodes: list[_Node]) -> list[_Node]:
    first: dict[tuple[str, NodeKind], _Node] = {}
    for node in nodes:
        known = first.setdefault((node.file_id, node.kind), node)
        if known is not node:
            alike = repr(known) == repr(node)  # NaN is not equal to itself
            file.repairs["duplicate_nodes" if alike else "conflicting_nodes"] += 1
    return list(first.values())


def _unique_ids(file: Document, nodes: list[_Node], n_layers: int) -> list[str]:
    """The ids of the file; where an error is named like a feature, the error gets the name of newer files."""
    times = Counter(node.file_id for node in nodes)
    halved = _has_attention(file)
    ids = []
    for node in nodes:
        rename = times[node.file_id] > 1 and node.kind is NodeKind.ERROR
        file.repairs["renamed_errors"] += rename
        ours = halved and node.kind not in (NodeKind.TOKEN, NodeKind.LOGIT)  # ids tell layers
        anew = node_id(node.kind, node.layer, node.position, node.index, n_layers)
        ids.append(anew if rename or ours else node.file_id)
    return ids


def _tokens(file: Document, about: dict[str, Any], nodes: list[_Node]) -> list[str]:
    """The text of each position: the file's list, or what the token nodes say where there is none."""
    n_needed = max((node.position for node in nodes), default=-1) + 1
    if about.get("prompt_tokens"):
        tokens = file.list_of(str, about["prompt_tokens"], "`metadata.prompt_tokens`")
        if n_needed > len(tokens):
            raise file.refused(
                f"a node at position {n_needed - 1} of a prompt with {len(tokens)} tokens",
                "positions below the number of tokens",
                "Write the file again.",
            )
        return tokens
    if n_needed > MAX_TOKENS:
        raise file.refused(f"a node at position {n_needed - 1}", f"at most {MAX_TOKENS}", "Write the file again.")
    file.repairs["tokens_from_nodes"] += 1
    tokens = [""] * n_needed
    for node in nodes:
        if node.kind is NodeKind.TOKEN:
            tokens[node.position] = node.label
    return tokens


# ------------------------------------------------------------------------------------------------------------ links


def _links(file: Document, nodes: list[_Node]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of sources and targets, and weights."""
    links, edges = file.root.get("links"), file.root.get("edges")
    beside = len(edges) if isinstance(edges, Links) else 0
    if ("links" not in file.root and "edges" in file.root) or (beside and not links):
        file.repairs["edges_for_links"] += 1
        links = edges
    else:
        file.repairs["edges_beside_links"] += beside
    if not isinstance(links, Links):
        file.list_of(dict, links, "`links`")
        raise file.refused("`links` is no list", "a list of objects", "Write the file again.")
    layer_N = np.array([node.layer for node in nodes], np.int64)
    is_error_N, is_bias_N = (
        np.array([node.kind is kind for node in nodes]) for kind in (NodeKind.ERROR, NodeKind.BIAS)
    )
    return links.joined([node.file_id for node in nodes], layer_N, is_error_N, is_bias_N)


# ------------------------------------------------------------------------------------------------------------ marks


def _marks(file: Document, nodes: list[_Node], ids: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pins and supernodes that people set, by our node ids, and how the front end showed them."""
    params = _marked(file, file.root.get("qParams"), dict)
    names: dict[str, list[str]] = {}
    for node, ours in zip(nodes, ids, strict=True):
        shell = f"{node.layer}_{node.index}"  # one program leaves out the position
        for name in {node.file_id, node.js_id, shell}:
            names.setdefault(name, []).append(ours)
    pins = _texts(file, params.get("pinnedIds"))
    supernodes = []
    for group in _marked(file, params.get("supernodes"), list):
        label, *members = _texts(file, group) or [""]
        if members:
            supernodes.append({"label": label, "members": _known(file, members, names, "unknown_members")})
    view = file.fitting({name: params[name] for name in VIEW if params.get(name) not in (None, "")}, VIEW)
    clicked = _known(file, [view.pop("clickedId")], names, "unknown_pins") if "clickedId" in view else []
    view |= {"clickedId": clicked[0]} if clicked else {}
    return {"pins": _known(file, pins, names, "unknown_pins"), "supernodes": supernodes}, view


def _texts(file: Document, value: Any) -> list[str]:
    texts = _marked(file, value, list)
    if all(isinstance(item, str) for item in texts):
        return texts
    file.repairs["unreadable_marks"] += 1
    return []


def _marked(file: Document, value: Any, kind: type) -> Any:
    """The value where it is of this kind; else an empty one, and what is left out is counted."""
    if isinstance(value, kind):
        return value
    file.repairs["unreadable_marks"] += value is not None
    return kind()


def _known(file: Document, marks: list[str], names: dict[str, list[str]], repair: str) -> list[str]:
    """Our ids of these marks: by id, else by the front end's id where that names one node."""
    found: Iterable[list[str]] = (names.get(mark, []) for mark in marks)
    ours = [ids[0] for ids in found if len(ids) == 1]
    file.repairs[repair] += len(marks) - len(ours)
    return ours
