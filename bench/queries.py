"""Questions over a hundred graphs with two million links: circuits, shared features, links and motifs."""

import os
import tempfile
import time
from functools import partial

import numpy as np
import pandas as pd
import psutil

from bench.measure import best_seconds, print_table
from bench.store import own_server
from ingest.bulk import bring
from ingest.library import Library
from ingest.store import GraphStore
from tracer.graph import AttributionGraph, GraphMetadata

N_GRAPHS = int(os.environ.get("THROUGHLINE_BENCH_GRAPHS", "100"))
N_EDGES = 20_000  # of each
N_FEATURES, N_ERRORS, N_TOKENS, N_OUTPUTS, N_LAYERS = 500, 130, 12, 10, 26
COMMON, RARE = 600, 200_000  # entries of the dictionary that many prompts use, and all others
OFTEN = 0.35  # of the features of a graph are common ones: two graphs of the same wording share as much
REPEATS = (40, 110)  # after a first time, which makes the plan: Java goes on compiling a question for some hundred
LAST = 10  # further ones, of whose time on the server's processors the mean is told
WORDS = ("Dallas", "Texas", "Austin", "capital", "state", "city", "river", "the", "of", "say Austin")
LIMITS_MS = {"circuits_through": 100, "shared_features": 500, "reused_edges": 500, "three_node_motifs": 500}


def prompt_graph(seed: int) -> AttributionGraph:
    """A graph of the size of a published one whose features are partly those of other graphs.

    Common entries are drawn by a power law, and have one layer and one label wherever they occur.
    """
    random = np.random.default_rng(seed)
    weight = 1 / np.arange(1, COMMON + 1) ** 0.7
    n_common = int(OFTEN * N_FEATURES)
    common = random.choice(COMMON, n_common, replace=False, p=weight / weight.sum())
    rare = COMMON + random.choice(RARE, N_FEATURES - n_common, replace=False)
    index = np.concatenate([common, rare])
    features = pd.DataFrame({"kind": "feature", "layer": index % N_LAYERS, "index": index})
    features["position"] = random.integers(0, N_TOKENS, N_FEATURES)
    features["label"] = [WORDS[at % len(WORDS)] if at % 7 == 0 else "" for at in index]
    features = features.sort_values(["layer", "position", "index"])
    errors = pd.DataFrame({"kind": "error", "layer": np.arange(N_ERRORS) % N_LAYERS, "index": -1, "label": ""})
    errors["position"] = np.arange(N_ERRORS) // N_LAYERS
    at = np.arange(N_TOKENS)
    tokens = pd.DataFrame({"kind": "token", "layer": -1, "index": at, "position": at})
    tokens["label"] = [WORDS[place % len(WORDS)] for place in at]
    outputs = pd.DataFrame({"kind": "logit", "layer": N_LAYERS, "index": np.arange(N_OUTPUTS)})
    outputs["position"], outputs["label"] = N_TOKENS - 1, [WORDS[(2 + at) % len(WORDS)] for at in range(N_OUTPUTS)]
    nodes = pd.concat([features, errors, tokens, outputs], ignore_index=True)
    nodes["node_id"] = [f"{kind[0]}{row}" for row, kind in enumerate(nodes["kind"])]
    nodes["influence"] = random.uniform(size=len(nodes))
    nodes["probability"] = np.where(nodes["kind"] == "logit", 1 / N_OUTPUTS, np.nan)
    layer, kind = nodes["layer"].to_numpy(), nodes["kind"].to_numpy(str)
    # in published graphs two thirds of the links into features come from features
    pairs = np.flatnonzero((layer[:, None] < layer[None, :]) & (kind[None, :] != "error"))
    source, target = np.divmod(random.choice(pairs, N_EDGES, replace=False), len(nodes))
    effect = random.standard_cauchy(N_EDGES).clip(-1000, 1000)  # few links carry most, as in published graphs
    about = GraphMetadata(f"bench-{seed}", f"prompt {seed}", ("x",) * N_TOKENS, "model", "set", N_LAYERS)
    return AttributionGraph.build(nodes, source, target, effect, about)


def fill(store: GraphStore) -> float:
    """Store all graphs, as a first load; the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        library = Library(folder)
        for seed in range(N_GRAPHS):
            library.add(prompt_graph(seed))
        began = time.perf_counter()
        failed = list(bring(library.ids(), store, library))
        assert not failed, failed
    return time.perf_counter() - began


def server_process() -> psutil.Process:
    """The server that this process started."""
    return max(psutil.Process().children(recursive=True), key=lambda process: process.memory_info().rss)


def main() -> None:
    """Print how large the store is, and how long each question takes, by the clock and on the server's processors."""
    with own_server() as (store, _):
        seconds = fill(store)
        counts = store.schema_counts()
        size = [f"{counts[name]:,}" for name in ("Graph", "Node", "AFFECTS", "Feature", "FLOWS_TO")]
        print_table(
            ["graphs", "nodes", "links", "features", "links of features", "time"], [[*size, f"{seconds:.0f} s"]]
        )
        print()
        ids = [row["graph_id"] for row in store.graphs()]
        server = server_process()
        questions = [
            ("circuits_through", {"terms": ["Dallas", "Texas", "Austin"]}),
            ("circuits_through", {"terms": ["Dallas", "Texas", "Austin"], "min_share": 0.05}),
            ("circuits_through", {"terms": ["Dallas", "26_0", "Austin"]}),
            ("shared_features", {"graph_ids": ids}),
            ("shared_features", {"graph_ids": ids[:2]}),
            ("common_features", {}),
            ("reused_edges", {}),
            ("reused_edges", {"min_graphs": 5}),
            ("three_node_motifs", {}),
            ("three_node_motifs", {"min_graphs": 5}),
            ("features_at", {"layer": 1, "index": 1}),
            ("graphs_with", {"term": "Texas"}),
            ("labels_search", {"text": "Texas"}),
        ]
        rows = []
        for name, params in questions:
            ask = partial(store.run, name, **params)
            first_s, _ = best_seconds(ask, repeat=1)
            best_s = [best_seconds(ask, repeat=repeat)[0] for repeat in REPEATS]
            used = server.cpu_times()
            last_s, answer = best_seconds(ask, repeat=LAST)
            now = server.cpu_times()
            used_s = (now.user + now.system - used.user - used.system) / LAST
            shown = {
                key: value if not isinstance(value, list) or len(value) < 5 else "…" for key, value in params.items()
            }
            limit = f"{LIMITS_MS[name]} ms" if name in LIMITS_MS else ""
            times = [f"{1e3 * taken_s:.0f} ms" for taken_s in (first_s, best_s[0], min(*best_s, last_s), used_s)]
            rows.append([name, str(shown), *times, limit, f"{len(answer):,}"])
        asked = f"question over {counts['Graph']} graphs"
        bests = [f"best of {n}" for n in (REPEATS[0], sum(REPEATS) + LAST)]
        header = [asked, "parameters", "first time", *bests, "processor, warm", "wanted", "rows"]
        print_table(header, rows)


if __name__ == "__main__":
    main()
