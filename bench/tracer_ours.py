"""One trace by ours in a process of its own: CPU seconds by phase, the arithmetic bound, and peak memory.

    python -m bench.tracer_ours MODEL DICTIONARY SETTINGS      SETTINGS: JSON with token_ids, max_feature_nodes, repeat

Prints one line of JSON. The bound is the arithmetic of the method's matrix products, counted by `count_products`, at
the rate of single-precision products of those shapes, measured between the runs.
"""

import json
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

import tracer
from tracer.config import TraceConfig
from tracer.estimate import estimate, sizes_of
from tracer.provenance import peak_memory_mb
from tracer.replacement import LocalReplacement
from tracer.rows import trace_rows
from tracer.targets import ask, find

ROWS = 256  # of the products whose rate is measured: the batch size


def count_products(local: LocalReplacement, selected_A: np.ndarray, n_outputs: int) -> dict[str, float]:
    """Floating point operations of the method, by kind of product (a multiplication with its addition is two).

    A row enters at its own layer and position; its first hop through attention is of rank one in position; nothing is
    computed after its position. It meets each source that writes below it at a position not after its own.
    """
    layer, n_layers, n_pos = local.frozen.layers[0], local.n_layers, local.n_pos
    n_heads, d_model, d_head = layer.output_HDE.shape
    n_kv = len(layer.value_GED)
    met_LP = np.ones((n_layers, n_pos))  # the errors
    position_A = local.features.position_A.numpy()
    for below, writes in enumerate(local.writes):
        met_LP[below] += np.bincount(position_A[writes.row_W.numpy()], minlength=n_pos)
    met_LP = met_LP.cumsum(1)
    count = {"output": 0.0, "pattern": 0.0, "value": 0.0, "meet": 0.0}
    features = local.features
    rows = Counter(zip(features.layer_A[selected_A].tolist(), position_A[selected_A].tolist(), strict=True))
    rows[n_layers, n_pos - 1] += n_outputs
    for (at, position), n in rows.items():
        n_reach, n_full = position + 1, min(at, n_layers - 1)
        count["output"] += n * 2 * d_model * n_heads * d_head * (n_full * n_reach + 1)
        count["value"] += n * 2 * d_head * d_model * (n_full * n_reach * n_kv + n_heads)
        count["pattern"] += n * n_heads * (n_full * d_head * n_reach * (n_reach + 1) + 2 * n_reach * d_model)
        count["meet"] += n * 2 * d_model * (met_LP[:at, position].sum() + n_reach)
    return count


def measure_rates(local: LocalReplacement) -> dict[str, float]:
    """Operations a second of each kind of product, as one large batch would do it, one thread."""
    layer, n_pos = local.frozen.layers[0], local.n_pos
    n_heads, d_model, d_head = layer.output_HDE.shape
    n_kv = len(layer.value_GED)
    met = max(1, round(sum(len(w.row_W) for w in local.writes) / local.n_layers / n_pos)) + 1
    shapes = {
        "output": (ROWS * n_pos, d_model, n_heads * d_head),
        "value": (ROWS * n_pos, n_kv * d_head, d_model),
        "pattern": (n_pos, n_heads // n_kv * n_pos, ROWS * d_head),
        "meet": (ROWS, d_model, met),
    }
    return {name: _rate(*shape) for name, shape in shapes.items()}


def _rate(rows: int, inner: int, columns: int) -> float:
    left, right, out = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
    operations = 2 * rows * inner * columns
    repeat, best = max(1, int(5e8 / operations)), 0.0
    for _ in range(6):
        began = time.process_time()
        for _ in range(repeat):
            torch.mm(left, right, out=out)
        best = max(best, repeat * operations / (time.process_time() - began))
    return best


def libraries_mb() -> float:
    """Peak memory of this process when torch and the model's classes are imported and nothing is loaded."""
    import_module("transformers.models.gemma2.modeling_gemma2")
    return peak_memory_mb() or 0.0


def main() -> None:
    """Print the line."""
    torch.set_num_threads(1)
    settings = json.loads(sys.argv[3])
    imported_mb = libraries_mb()
    began = time.process_time()
    model = tracer.load(Path(sys.argv[1]), Path(sys.argv[2]), device="cpu")
    load_s, loaded_mb = time.process_time() - began, peak_memory_mb() or 0.0
    names = ("max_feature_nodes", "batch_size", "max_edges_per_node")
    config = TraceConfig.like("circuit-tracer", **{name: settings[name] for name in names if settings.get(name)})
    needed = estimate(sizes_of(model.adapter, model.transcoders, len(settings["token_ids"]), config))
    token_P = torch.tensor(settings["token_ids"])
    rows_s, graph_s, parts = [], [], []
    rates: dict[str, float] = {}
    for _ in range(settings["repeat"]):
        times = [time.process_time()]
        local = model.linearise(token_P, config.keep_first_position)
        times.append(time.process_time())
        outputs = find(ask(config, model.adapter, model.transcoders, token_P), model.adapter, local, config)
        traced = trace_rows(local, outputs, config, None)
        times.append(time.process_time())
        rows_s.append(times[2] - times[0])
        parts.append(np.diff(times))
        selected_A = traced[1]
        if settings.get("graph", True):
            del traced
            began = time.process_time()
            tracer.attribute(settings["token_ids"], model, config)
            graph_s.append(time.process_time() - began)
        peak_mb = peak_memory_mb()
        for name, rate in measure_rates(local).items() if settings.get("bound", True) else ():
            rates[name] = max(rates.get(name, 0.0), rate)
    count = count_products(local, selected_A, len(outputs))
    bound = {
        "gflop": {name: value / 1e9 for name, value in count.items()},
        "gflop_per_s": {name: rate / 1e9 for name, rate in rates.items()},
        "bound_s": sum(count[name] / rate for name, rate in rates.items()),
    }
    print(
        json.dumps(
            {
                "load_s": load_s,
                "cold_s": rows_s[0],
                "rows_s": min(rows_s),
                "linearise_s": min(p[0] for p in parts),
                "graph_s": min(graph_s, default=None),
                "n_features": len(selected_A),
                "n_active": len(local.features),
                "peak_mb": peak_mb,
                "libraries_mb": imported_mb,
                "loaded_mb": loaded_mb,
                "estimated_gflop": needed.flop / 1e9,
                "estimated_mb": needed.memory_bytes / 1e6,
            }
            | bound
        )
    )


if __name__ == "__main__":
    main()
