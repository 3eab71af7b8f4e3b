"""Graphs in the folder that Anthropic's front end for attribution graphs opens when it lies beside it.

`data/graph-metadata.json` lists the graphs, `graph_data/<slug>.json` has each, `features/<scan>/<number>.json` what is
known of a feature: how it fired on the prompts of the folder. `scan` is the dictionary there, so that numbers of two
dictionaries do not meet; names that lead nowhere safe on disk are replaced, and ours are kept for our reader.
"""

import json
import re
from pathlib import Path
from typing import Any

from ingest.graph_json import (
    NodeNames,
    feature_number,
    file_layer,
    metadata_of,
    node_ids_of,
    write_document,
)
from ingest.replacing import replacing
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind, slug_of

LISTING = "data/graph-metadata.json"
GRAPHS = "graph_data"
FEATURES = "features"
LISTED = ("slug", "scan", "prompt_tokens", "prompt", "node_threshold", "throughline")
SAFE = re.compile(r"(?!\.)[\w.-]{1,100}", re.ASCII)  # a name of a file or folder, which leads nowhere else
QUANTILE = "Prompts of this folder: activations at the nodes of their graphs"


def write_static(graph: AttributionGraph, folder: Path) -> None:
    """Put a graph into this folder beside those that are there; one of the same graph is replaced.

    Raises:
        GraphFormatError: The listing of the folder, or a feature in it, is none.
    """
    listed = _read(folder / LISTING, "graphs")
    about = metadata_of(graph)
    slug = _slug(graph, listed)
    about["throughline"] |= {"slug": graph.metadata.slug, "model": graph.metadata.model}
    about |= {"slug": slug, "scan": _scan(graph.metadata.source_set)}
    write_document(graph, folder / GRAPHS / f"{slug}.json", about, _names(graph))
    _write_features(graph, folder / FEATURES / about["scan"], slug)
    rest = [each for each in listed if each.get("slug") != slug]
    entry = {name: about[name] for name in LISTED if name in about}
    _write(folder / LISTING, {"graphs": [*rest, entry]})


def graph_files(folder: Path) -> list[Path] | None:
    """The graphs in a folder of this kind, in order of name; None where it is none."""
    if not (folder / LISTING).is_file() or not (folder / GRAPHS).is_dir():
        return None
    return sorted(path for path in (folder / GRAPHS).iterdir() if path.is_file())


def _slug(graph: AttributionGraph, listed: list[dict[str, Any]]) -> str:
    """The name of the graph's file: its slug, where that is the name of a file and of no other graph in the folder."""
    slug = graph.metadata.slug
    taken = {each.get("slug"): (each.get("throughline") or {}).get("graph_id") for each in listed}
    if SAFE.fullmatch(slug) and taken.get(slug, graph.graph_id) == graph.graph_id:
        return slug
    return f"{_ascii(slug_of(slug))}-{graph.graph_id}"


def _scan(source_set: str) -> str:
    """The dictionary, by a name that leads nowhere but below the folder."""
    return source_set if all(SAFE.fullmatch(part) for part in source_set.split("/")) else _ascii(slug_of(source_set))


def _ascii(text: str) -> str:
    return text.encode("ascii", "ignore").decode().strip("-") or "unnamed"


def _names(graph: AttributionGraph) -> NodeNames:
    """By their position from the end, which the front end takes to line up prompts."""
    ids, last = node_ids_of(graph), len(graph.metadata.tokens) - 1
    rows = zip(ids, graph.nodes["kind"], graph.nodes["position"].tolist(), strict=True)
    js_ids = [
        f"{file_id}_-{last}" if kind == NodeKind.BIAS else f"{file_id.rpartition('_')[0]}_-{last - position}"
        for file_id, kind, position in rows
    ]
    return NodeNames(ids, js_ids, js_ids)


def _write_features(graph: AttributionGraph, folder: Path, slug: str) -> None:
    rows = graph.nodes[graph.slice_of(NodeKind.FEATURE)]
    columns = (rows[name].tolist() for name in ("layer", "index", "position", "activation"))
    fired: dict[int, dict[int, float]] = {}
    for layer, index, position, activation in zip(*columns, strict=True):
        if activation == activation:  # NaN where the graph does not tell
            fired.setdefault(feature_number(file_layer(graph, layer), index), {})[position] = activation
    for number, at in fired.items():
        path = folder / f"{number}.json"
        rest = [each for each in _examples(path) if each.get("slug") != slug]
        acts = [at.get(position, 0.0) for position in range(len(graph.metadata.tokens))]
        examples = [*rest, {"slug": slug, "tokens": list(graph.metadata.tokens), "tokens_acts_list": acts}]
        largest = max(max(each["tokens_acts_list"], default=0.0) for each in examples)
        quantiles = [{"quantile_name": QUANTILE, "examples": examples}]
        known = {"index": number, "examples_quantiles": quantiles, "act_min": 0.0, "act_max": largest}
        _write(path, known | {"top_logits": [], "bottom_logits": []})


def _examples(path: Path) -> list[dict[str, Any]]:
    quantiles = _read(path, "examples_quantiles")
    return quantiles[0].get("examples", []) if quantiles else []


def _read(path: Path, name: str) -> list[dict[str, Any]]:
    """The list of this name in a file of the folder; empty where there is no file."""
    try:
        found = json.loads(path.read_bytes())[name]
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise TypeError(f"{name} is no list of objects")
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise GraphFormatError(
            f"{path}: not a file of this format ({error}); expected an object with the list `{name}`. Name another "
            "folder, or move the file away."
        ) from None
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as out:
        out.write(json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n")
