"""Random graphs that share features, with every kind of node, pruned parts and labels worth asking for."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tracer.graph import AttributionGraph, GraphMetadata
from tracer.schema import NodeKind, node_id

N_LAYERS = 4
TOKENS = (" the", " state", " of", " Dallas")
OUTPUTS = (" Austin", " Houston")
LABELS = ("Texas", "cities of Texas", "say Austin", "", "Texans", "state capitals", "Dallas Cowboys", "Austin, Texas")


def make_graph(
    seed: int,
    n_features: int = 14,
    density: float = 0.5,
    kept: float = 0.85,
    source_set: str = "set",
    max_index: int = 3,
    prompt: str = "the state of Dallas",
) -> AttributionGraph:
    """A graph of this seed; features come from a small dictionary, so that graphs share many.

    Args:
        density: Part of the possible edges that are there.
        kept: Part of nodes and edges that pruning left.
        max_index: Features of a layer have indices below this.
    """
    random = np.random.default_rng(seed)
    places = {
        (int(random.integers(N_LAYERS)), int(random.integers(max_index)), int(random.integers(len(TOKENS))))
        for _ in range(n_features)
    }
    nodes = [(NodeKind.FEATURE, *place, LABELS[(7 * place[0] + place[1]) % len(LABELS)]) for place in sorted(places)]
    nodes += [(NodeKind.ERROR, layer, -1, 3, "") for layer in range(N_LAYERS)]
    nodes += [(NodeKind.TOKEN, -1, 100 + at, at, text) for at, text in enumerate(TOKENS)]
    nodes += [(NodeKind.LOGIT, N_LAYERS, 200 + at, 3, text) for at, text in enumerate(OUTPUTS)]
    table = pd.DataFrame(nodes, columns=["kind", "layer", "index", "position", "label"])
    table["node_id"] = [
        node_id(kind, layer, position, index, N_LAYERS)
        for kind, layer, index, position in table[["kind", "layer", "index", "position"]].itertuples(index=False)
    ]
    table["kind"] = [str(kind) for kind in table["kind"]]
    feature, output = (table["kind"] == kind for kind in ("feature", "logit"))
    table["activation"] = np.where(feature, random.uniform(0.1, 9, len(table)), np.nan)
    table["probability"] = np.where(output, random.uniform(0.1, 0.5, len(table)), np.nan)
    table["influence"] = random.uniform(0, 1, len(table))
    table["kept"] = (random.uniform(size=len(table)) < kept) | output | (table["kind"] == "token")
    layer = table["layer"].to_numpy()
    source, target = np.nonzero((layer[:, None] < layer[None, :]) & (random.uniform(size=(len(layer),) * 2) < density))
    effect = random.normal(size=len(source)).astype(np.float32)
    keep_edges = (random.uniform(size=len(source)) < kept) & table["kept"].to_numpy()[source]
    keep_edges &= table["kept"].to_numpy()[target]
    about = GraphMetadata(f"made-{seed}", prompt, TOKENS, "model", source_set, N_LAYERS, replacement_score=0.5)
    return AttributionGraph.build(table, source, target, effect, about, keep_edges)


def explaining_a_feature(seed: int = 1) -> AttributionGraph:
    """One of these graphs that explains its last feature that something enters, instead of outputs."""
    graph = make_graph(seed, density=0.9)
    kinds = graph.nodes["kind"].to_numpy()
    row = int(np.flatnonzero((kinds == NodeKind.FEATURE) & np.isin(np.arange(len(kinds)), graph.edges.target))[-1])
    nodes = graph.nodes.iloc[: graph.slice_of(NodeKind.LOGIT).start].copy()  # outputs stand last, so rows stay
    nodes["probability"] = np.where(np.arange(len(nodes)) == row, 1.0, np.nan)
    edges = graph.edges.take(graph.edges.target < len(nodes))
    about = replace(graph.metadata, target="feature")
    return AttributionGraph.build(nodes, edges.source, edges.target, edges.effect, about, edges.kept)


def large_graph(n_features: int = 700, n_edges: int = 35_000, seed: int = 0) -> AttributionGraph:
    """A graph of the size of a published one, all of it kept."""
    random = np.random.default_rng(seed)
    n_layers, n_tokens, n_errors = 26, 11, 137
    features = np.sort(random.integers(0, n_layers, n_features))
    errors, tokens, outputs = np.arange(n_errors) % n_layers, np.full(n_tokens, -1), np.full(10, n_layers)
    layer = np.concatenate([features, errors, tokens, outputs])
    kinds = ["feature"] * n_features + ["error"] * n_errors + ["token"] * n_tokens + ["logit"] * 10
    n = len(layer)
    nodes = pd.DataFrame({"kind": kinds, "layer": layer, "position": np.arange(n) % n_tokens})
    nodes["index"] = np.where(nodes["kind"] == "error", -1, np.arange(n) * 7)
    nodes["node_id"] = [f"{kind}{row}" for row, kind in enumerate(kinds)]
    nodes["label"] = [f"label {row % 50} of {kind}" for row, kind in enumerate(kinds)]
    pairs = np.flatnonzero(layer[:, None] < layer[None, :])
    source, target = np.divmod(random.choice(pairs, n_edges, replace=False), n)
    about = GraphMetadata(f"large-{seed}", "a large prompt", ("x",) * n_tokens, "model", "large", n_layers)
    return AttributionGraph.build(nodes, source, target, random.normal(size=n_edges), about)
