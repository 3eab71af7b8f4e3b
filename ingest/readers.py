"""Other people's graph files, read into an AttributionGraph or refused with the reason.

Read are the JSON files (also gzipped) of circuit-tracer, of Neuronpedia and of Anthropic's static front end. What a
file says is taken from where it cannot be wrong: kinds from `feature_type`, layer and index of a feature from its id
(three numberings are in use for `feature`), the model from `scan`. Where a file contradicts itself in a way that has
one safe answer, that answer is taken and counted in `metadata.provenance["repairs"]`; anything else is refused.
"""

import dataclasses
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ingest.documents import Document, parse, read_content, short
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph, GraphMetadata
from tracer.influence import influence
from tracer.schema import NodeKind, node_id

KINDS = {
    "cross layer transcoder": NodeKind.FEATURE,  # files name per-layer transcoders so, too
    "mlp reconstruction error": NodeKind.ERROR,
    "embedding": NodeKind.TOKEN,
    "logit": NodeKind.LOGIT,
    "bias": NodeKind.BIAS,  # our own
}
KIND_ORDER = {kind: place for place, kind in enumerate(NodeKind)}
MAX_LAYERS = 1_000  # no model has more; a larger number is a damaged file
MAX_TOKENS = 1_000_000  # likewise
FEATURE_ID = re.compile(r"(\d{1,9})_(\d{1,18})_(\d{1,9})", re.ASCII)
ERROR_ID = re.compile(r"(\d{1,9})_(-1|\d{1,18})_(\d{1,9})", re.ASCII)
TOKEN_ID = re.compile(r"(?:E|-1)_(\d{1,18})_(\d{1,9})", re.ASCII)
BIAS_ID = re.compile(r"B_(\d{1,18})_(-1|\d{1,9})", re.ASCII)
OUTPUT_TEXT = re.compile(r'\s*output:?\s*"(.*)"\s*\(p=([\d.eE+-]+)\)\s*', re.DOTALL | re.IGNORECASE)
TOKEN_TEXT = re.compile(r'\s*emb:?\s*"(.*)"\s*', re.DOTALL | re.IGNORECASE)
ANTHROPIC_JS_ID = re.compile(r"\w+_-\d+")  # Anthropic's front end counts positions from the end

REPAIRS = {
    "edges_for_links": "the list of links is named `edges`",
    "link_ends_as_objects": "the end of a link is an object with an id instead of the id",
    "numbers_as_text": "a number is written as text",
    "renamed_errors": "an error node had the id of a feature and got the id `layer_-1_position`",
    "duplicate_nodes": "a node is given twice, alike; the first is kept",
    "conflicting_nodes": "a node is given twice, with different values; the first is kept",
    "layers_unlike_ids": "the layer of a feature is not that of its id; the id counts",
    "positions_unlike_ids": "the position of a node is not that of its id; the id counts",
    "dangling_links": "a link to or from a node that is not there, left out",
    "self_links": "a link from a node to itself, left out",
    "backward_links": "a link that does not go to a higher layer, left out",
    "zero_links": "a link of weight zero, left out",
    "duplicate_links": "a link is given twice with one weight; the first is kept",
    "conflicting_links": "a link is given twice with different weights; the first is kept",
    "ambiguous_links": "a link from an id of two nodes, both of which it could come from, left out",
    "prompt_from_tokens": "no prompt; put together from the tokens",
    "tokens_from_nodes": "no list of tokens; put together from the token nodes",
    "unknown_pins": "a pinned node that is not there, left out",
    "unknown_members": "a supernode's member that is not there, left out",
    "unreadable_marks": "pins or supernodes in a form that is not known, left out",
    "half_characters": "a text holds half of a surrogate pair; replaced by a question mark",
}


def read_graph_file(path: str | Path) -> AttributionGraph:
    """The graph in a JSON file of circuit-tracer, Neuronpedia or Anthropic's front end.

    Returns:
        A graph with `complete=False`: these files are pruned, so shares and influence are computed on what the file
        holds. Node ids are those of the file where they are unique. `metadata.provenance` has the file's name, hash,
        settings, pins, supernodes, and under `repairs` how often each of `REPAIRS` was needed.

    Raises:
        GraphFormatError: The file cannot be read or understood; says the file, what was seen, what was expected.
    """
    path = Path(path)
    content = read_content(path)
    file = parse(path.name, content)
    provenance = {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    try:
        return _graph(file, path.name.partition(".")[0], provenance)
    except GraphFormatError as error:
        if str(error).startswith(path.name):
            raise
        raise GraphFormatError(f"{path.name}: {error}") from None


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
    provenance |= _marks(file, nodes, ids)
    provenance |= {"about": {key: about[key] for key in ABOUT if key in about}}
    provenance |= {"influence": _influence_note(file)}
    prompt = file.text(about.get("prompt"), "`metadata.prompt`")
    if not prompt:
        file.repairs["prompt_from_tokens"] += 1
    ours = _object(about.get("throughline"))  # what our own export adds
    metadata = GraphMetadata(
        slug=file.text(about.get("slug"), "`metadata.slug`") or stem,
        prompt=prompt or "".join(tokens),
        tokens=tuple(tokens),
        model=about["scan"].strip(),
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


ABOUT = (  # kept as the file has it
    "info",
    "schema_version",
    "generation_settings",
    "pruning_settings",
    "node_threshold",
    "transcoder_list",
    "feature_details",
    "_derived",
)
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
    nodes = file.root.get("nodes")
    first = nodes[0] if isinstance(nodes, list) and nodes and isinstance(nodes[0], dict) else {}
    return "anthropic" if ANTHROPIC_JS_ID.fullmatch(str(first.get("jsNodeId"))) else "unknown"


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
    for name in (info.get("neuronpedia_source_set"), details.get("neuronpedia_source_set"), first):
        if isinstance(name, str) and name.strip(" /"):
            return f"{scan}/{name.strip(' /').rpartition('/')[2]}"
    return scan


def _note(file: Document, about: dict[str, Any], origin: str) -> str:
    """Where the labels of this file come from."""
    creator = _object(about.get("info")).get("creator_name")
    return f"from {file.name} ({origin}{f', {creator}' if isinstance(creator, str) and creator.strip() else ''})"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _influence_note(file: Document) -> str:
    has = any(node.get("influence") is not None for node in file.root["nodes"])
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
    entries = file.list_of(dict, file.root.get("nodes"), "`nodes`")
    if not entries:
        raise file.refused("no nodes", "at least one", "Trace the prompt again with a higher threshold.")
    nodes = [_node(file, entry, note) for entry in entries]
    top = max((node.layer for node in nodes if node.kind is not NodeKind.LOGIT), default=-1) + 1
    # circuit-tracer puts outputs at n_layers + 1, Anthropic at n_layers: whichever is above all features.
    n_layers = max([top, 0, *(node.layer - 1 for node in nodes if node.kind is NodeKind.LOGIT)])
    if n_layers > MAX_LAYERS:
        raise file.refused(f"{n_layers} layers", f"at most {MAX_LAYERS}", "Write the file again.")
    nodes = [node._replace(layer=n_layers) if node.kind is NodeKind.LOGIT else node for node in nodes]
    return sorted(_each_once(file, nodes), key=_place), n_layers


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
    label, probability = clerp.strip(), math.nan
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
    named = entry.get("feature_type")
    kind = KINDS.get(re.sub(r"[\s_-]+", " ", named).strip().casefold()) if isinstance(named, str) else None
    if kind is None:
        raise file.refused(
            f"node {short(file_id)} has the feature_type {short(named)}",
            f"one of {', '.join(KINDS)}",
            "Graphs with attention features (Lorsa, CRM) or of other tools cannot be read; leave this file out.",
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
    parts = form.fullmatch(file_id)
    if not parts:
        raise file.refused(f"a {kind} has the node_id {short(file_id)}", f"the form {shape}", _FORMATS)
    if kind is NodeKind.TOKEN:
        return -1, int(parts[1]), int(parts[2])
    if kind is NodeKind.BIAS:
        return int(parts[2]), int(parts[1]), -1
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
        probability = file.number(float(wrapped[2]) if _is_number(wrapped[2]) else None, f"clerp of {file_id}")
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
    ids = []
    for node in nodes:
        rename = times[node.file_id] > 1 and node.kind is NodeKind.ERROR
        file.repairs["renamed_errors"] += rename
        ids.append(node_id(node.kind, node.layer, node.position, -1, n_layers) if rename else node.file_id)
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
    if "links" not in file.root and "edges" in file.root:
        file.repairs["edges_for_links"] += 1
    entries = file.list_of(dict, file.root.get("links", file.root.get("edges")), "`links`")
    rows: dict[str, list[int]] = {}
    for row, node in enumerate(nodes):
        rows.setdefault(node.file_id, []).append(row)
    weights: dict[tuple[int, int], float] = {}
    for entry in entries:
        ends = [_end(file, entry, name) for name in ("source", "target")]
        weight = _weight(file, entry, ends)
        pair = _resolved(file, nodes, *(rows.get(end, []) for end in ends))
        if pair is None:
            continue
        if pair in weights:
            file.repairs["duplicate_links" if weights[pair] == weight else "conflicting_links"] += 1
        elif np.float32(weight) == 0:
            file.repairs["zero_links"] += 1
        else:
            weights[pair] = weight
    source, target = np.array(list(weights), np.int32).reshape(-1, 2).T
    return source, target, np.array(list(weights.values()), np.float32)


def _end(file: Document, entry: dict[str, Any], name: str) -> str:
    end = entry.get(name)
    if isinstance(end, dict):
        file.repairs["link_ends_as_objects"] += 1
        end = end.get("node_id", end.get("id"))
    if not isinstance(end, str):
        raise file.refused(f"a link with the {name} {short(end)}", "the node_id of a node", _FORMATS)
    return end


def _weight(file: Document, entry: dict[str, Any], ends: list[str]) -> float:
    what = f"the weight from {short(ends[0])} to {short(ends[1])}"
    weight = file.number(entry.get("weight"), what)
    if math.isnan(weight):
        raise file.refused(f"{what} is missing", "a number", "Write the file again.")
    return weight


def _resolved(file: Document, nodes: list[_Node], sources: list[int], targets: list[int]) -> tuple[int, int] | None:
    """The rows that a link joins; None, with the reason counted, where it joins none or none for sure.

    An id of old files can name a layer-0 feature and an error of a higher layer. An error has no inputs, and a link
    goes to a higher layer: often only one of the two is possible.
    """
    if not sources or not targets:
        file.repairs["dangling_links"] += 1
        return None
    if len(targets) > 1:
        targets = [row for row in targets if nodes[row].kind is not NodeKind.ERROR]
    possible = [(s, t) for s in sources for t in targets if _may_affect(nodes[s], nodes[t])]
    if len(possible) == 1:
        return possible[0]
    reason = "ambiguous_links" if possible else "self_links" if set(sources) & set(targets) else "backward_links"
    file.repairs[reason] += 1
    return None


def _may_affect(source: _Node, target: _Node) -> bool:
    """Whether a link can go here: to a higher layer; from a bias also within its layer, and never into one."""
    return target.kind is not NodeKind.BIAS and source.layer - (source.kind is NodeKind.BIAS) < target.layer


# ------------------------------------------------------------------------------------------------------------ marks


def _marks(file: Document, nodes: list[_Node], ids: list[str]) -> dict[str, Any]:
    """Pins and supernodes that people set, by our node ids."""
    params = _object(file.root.get("qParams"))
    names: dict[str, list[str]] = {}
    for node, ours in zip(nodes, ids, strict=True):
        shell = f"{node.layer}_{node.index}"  # one program leaves out the position
        for name in {node.file_id, node.js_id, shell}:
            names.setdefault(name, []).append(ours)
    pins = _texts(file, params.get("pinnedIds"))
    groups = params.get("supernodes")
    supernodes = []
    for group in groups if isinstance(groups, list) else []:
        label, *members = _texts(file, group) or [""]
        if members:
            supernodes.append({"label": label, "members": _known(file, members, names, "unknown_members")})
    return {"pins": _known(file, pins, names, "unknown_pins"), "supernodes": supernodes}


def _texts(file: Document, value: Any) -> list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    file.repairs["unreadable_marks"] += value is not None
    return []


def _known(file: Document, marks: list[str], names: dict[str, list[str]], repair: str) -> list[str]:
    """Our ids of these marks: by id, else by the front end's id where that names one node."""
    found: Iterable[list[str]] = (names.get(mark, []) for mark in marks)
    ours = [ids[0] for ids in found if len(ids) == 1]
    file.repairs[repair] += len(marks) - len(ours)
    return ours


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
