"""One trace by ours in a process of its own: seconds by phase, the arithmetic bound, and peak memory.

    python -m bench.tracer_ours MODEL DICTIONARY SETTINGS      SETTINGS: JSON with token_ids, max_feature_nodes, repeat

Prints one line of JSON: CPU seconds, or with settings["device"] "cuda" wall seconds and memory of the GPU. The bound is
the arithmetic of rows pulled to the bottom, counted by `count_pulled`, at the rate of single-precision products of
those shapes, measured between the runs; `count_products` counts what is done.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

import tracer
from tracer.config import TraceConfig
from tracer.effects import FOLDED_POSITIONS, middle_of
from tracer.estimate import estimate, sizes_of
from tracer.provenance import peak_memory_mb
from tracer.replacement import LocalReplacement
from tracer.rows import trace_rows
from tracer.targets import OutputTargets, ask, find

ROWS = 256  # of the products whose rate is measured: the batch size
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "dot", "mv", "addmv")
MOVES = (
    "copy_",
    "cat",
    "index",
    "index_select",
    "index_copy_",
    "index_put_",
    "gather",
    "clone",
    "sort",
    "fill_",
    "zero_",
)
KINDS = ("output", "value", "pattern", "meet", "middle")


@dataclass(frozen=True)
class Hops:
    """What blocks cost, by kind of product: vectors that enter one by one and go through attention again and again.

    A vector's first hop is of rank one in position, and what the next block first makes of it is known by head.
    """

    width: int
    n_heads: int
    d_head: int
    n_first: int
    """Columns of what a block first makes of a vector: of outputs when pulled down, of values when carried up."""
    n_last: int
    """Columns of what is turned back into vectors: of values, or of outputs."""

    def __call__(self, n: int, n_hops: int, n_reach: int) -> tuple[float, float, float]:
        """Operations (first product, last product, patterns) of so many vectors that reach so many positions."""
        if n_hops < 1:
            return 0.0, 0.0, 0.0
        first = 2 * self.width * self.n_first * (max(n_hops - 2, 0) * n_reach + 1)
        last = 2 * self.width * (self.n_last * (n_hops - 1) * n_reach + self.n_heads * self.d_head)
        pattern = 2 * n_reach * self.n_heads * self.width
        pattern += (n_hops - 1) * self.n_heads * self.d_head * n_reach * (n_reach + 1)
        if n_hops > 1:  # by head, what the next block makes of it
            first += 2 * self.n_heads * self.d_head * self.n_first + 2 * self.width * self.n_first
            pattern += 2 * n_reach * self.n_heads * self.n_first
        return n * first, n * last, n * pattern


def count_pulled(local: LocalReplacement, selected_A: np.ndarray, n_outputs: int) -> dict[str, float]:
    """Floating point operations where each row is pulled to the bottom, by kind of product: the bound to compare with.

    A row enters at its own layer and position; its first hop through attention is of rank one in position; nothing is
    computed after its position. It meets each source that writes below it at a position not after its own.
    """
    layer, n_layers, n_pos = local.frozen.layers[0], local.n_layers, local.n_pos
    n_heads, d_model, d_head = layer.output_HDE.shape
    n_kv = len(layer.value_GED)
    met_LP = np.ones((n_layers, n_pos))  # the errors
    position_A = local.features.position_A.cpu().numpy()
    for below, writes in enumerate(local.writes):
        met_LP[below] += np.bincount(position_A[writes.row_W.cpu().numpy()], minlength=n_pos)
    met_LP = met_LP.cumsum(1)
    count = {"output": 0.0, "pattern": 0.0, "value": 0.0, "meet": 0.0}
    layer_A = local.features.layer_A.cpu().numpy()
    rows = Counter(zip(layer_A[selected_A].tolist(), position_A[selected_A].tolist(), strict=True))
    rows[n_layers, n_pos - 1] += n_outputs
    for (at, position), n in rows.items():
        n_reach, n_full = position + 1, min(at, n_layers - 1)
        count["output"] += n * 2 * d_model * n_heads * d_head * (n_full * n_reach + 1)
        count["value"] += n * 2 * d_head * d_model * (n_full * n_reach * n_kv + n_heads)
        count["pattern"] += n * n_heads * (n_full * d_head * n_reach * (n_reach + 1) + 2 * n_reach * d_model)
        count["meet"] += n * 2 * d_model * (met_LP[:at, position].sum() + n_reach)
    return count


def count_products(local: LocalReplacement, selected_A: np.ndarray, n_outputs: int) -> dict[str, float]:
    """Floating point operations that are done now, by kind of product (a multiplication with its addition is two).

    Fewer than `count_pulled` counts: what a block makes of first hops is known by head, tokens are carried through the
    first block, and where many features are traced rows and sources meet in the middle (see `effects.middle_of`).
    """
    layer, n_layers, n_pos = local.frozen.layers[0], local.n_layers, local.n_pos
    n_heads, d_model, d_head = layer.output_HDE.shape
    n_values, n_outs = len(layer.value_GED) * d_head, n_heads * d_head
    pulled, carried = (Hops(d_model, n_heads, d_head, *order) for order in ((n_outs, n_values), (n_values, n_outs)))
    middle = middle_of(local, len(selected_A))
    folded = n_pos <= FOLDED_POSITIONS  # without a middle, tokens are carried through the first block
    features, written_LP, entering_LP = local.features, np.ones((n_layers, n_pos)), np.ones((n_layers + 1, n_pos))
    position_A, layer_A = features.position_A.cpu().numpy(), features.layer_A.cpu().numpy()
    for below, writes in enumerate(local.writes):
        written_LP[below] += np.bincount(position_A[writes.row_W.cpu().numpy()], minlength=n_pos)
        entering_LP[below + 1] += np.bincount(position_A[layer_A == below], minlength=n_pos)
    reached_LP, entered_LP = written_LP.cumsum(1), entering_LP.cumsum(1)  # errors and, on entering, tokens are the ones
    count: dict[str, float] = dict.fromkeys(KINDS, 0.0)

    rows = Counter(zip(layer_A[selected_A].tolist(), position_A[selected_A].tolist(), strict=True))
    rows[n_layers, n_pos - 1] += n_outputs
    for (at, position), n in rows.items():
        if at < middle:  # met by what is carried up
            count["meet"] += n * 2 * d_model * entered_LP[: at + 1, position].sum()
            continue
        n_reach, bottom = position + 1, middle or int(folded)
        output, value, pattern = pulled(n, min(at, n_layers - 1) - bottom + 1, n_reach)
        met = reached_LP[middle:at, position].sum()
        if not middle:
            met += n_reach * n_reach if folded else n_reach
        else:
            n_between = n_reach - np.arange(n_reach)  # positions that source and target have in common
            count["middle"] += n * 2 * d_model * (entering_LP[: middle + 1, :n_reach].sum(0) * n_between).sum()
        for kind, operations in zip(KINDS, (output, value, pattern, n * 2 * d_model * met), strict=False):
            count[kind] += operations
    for enters, position in np.ndindex(middle, n_pos):
        value, output, pattern = carried(int(entering_LP[enters, position]), middle - enters, n_pos - position)
        for kind, operations in zip(KINDS, (output, value, pattern), strict=False):
            count[kind] += operations
    return count


def product_shapes(local: LocalReplacement) -> dict[str, tuple[int, int, int]]:
    """Rows, inner size and columns of each kind of product, as one large batch would do it."""
    layer, n_pos = local.frozen.layers[0], local.n_pos
    n_heads, d_model, d_head = layer.output_HDE.shape
    n_kv = len(layer.value_GED)
    met = max(1, round(sum(len(w.row_W) for w in local.writes) / local.n_layers / n_pos)) + 1
    return {
        "output": (ROWS * n_pos, d_model, n_heads * d_head),
        "value": (ROWS * n_pos, n_kv * d_head, d_model),
        "pattern": (n_pos, n_heads // n_kv * n_pos, ROWS * d_head),
        "meet": (ROWS, d_model, met),
        "middle": (ROWS, d_model * -(-n_pos // 2), ROWS),
    }


def now_s(device: torch.device) -> float:
    """CPU seconds of this process; where a GPU works, wall seconds when it has finished."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_mb_on(device: torch.device) -> float:
    """Peak memory of this process, or of what it held on the GPU."""
    on_gpu = device.type == "cuda"
    return torch.cuda.max_memory_allocated(device) / 1e6 if on_gpu else peak_memory_mb() or 0.0


def _rate(rows: int, inner: int, columns: int, device: torch.device) -> float:
    left, right = torch.randn(rows, inner, device=device), torch.randn(inner, columns, device=device)
    out, operations = left.new_empty(rows, columns), 2 * rows * inner * columns
    repeat, best = max(1, int((5e8 if device.type == "cpu" else 5e10) / operations)), 0.0
    for _ in range(6):
        began = now_s(device)
        for _ in range(repeat):
            torch.mm(left, right, out=out)
        best = max(best, repeat * operations / (now_s(device) - began))
    return best


def where_time_goes(trace: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Seconds of one trace by what was done: products, moving numbers about, other operators of torch, the rest."""
    began, on_gpu = now_s(device), device.type == "cuda"
    with torch.profiler.profile() as profiler:  # of the CPU, and of a GPU where there is one
        trace()
        took_s = now_s(device) - began
    spent = {"products": 0.0, "moving numbers": 0.0, "other operators": 0.0}
    for event in profiler.key_averages():
        if on_gpu and not event.key.startswith("aten::"):
            continue  # kernels, which their operators count
        name = event.key.removeprefix("aten::")
        kind = "products" if name.rstrip("_") in PRODUCTS else "moving numbers" if name in MOVES else "other operators"
        spent[kind] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
    return spent | {"numpy and Python": max(0.0, took_s - sum(spent.values()))}


def libraries_mb() -> float:
    """Peak memory of this process when torch and the model's classes are imported and nothing is loaded."""
    import_module("transformers.models.gemma2.modeling_gemma2")
    return peak_memory_mb() or 0.0


def main() -> None:
    """Print the line."""
    torch.set_num_threads(1)
    settings = json.loads(sys.argv[3])
    imported_mb, device = libraries_mb(), torch.device(settings["device"])
    began = now_s(device)
    model = tracer.load(Path(sys.argv[1]), Path(sys.argv[2]), device=settings["device"])
    load_s, loaded_mb = now_s(device) - began, peak_mb_on(device)
    names = ("max_feature_nodes", "batch_size", "max_edges_per_node")
    config = TraceConfig.like("circuit-tracer", **{name: settings[name] for name in names if settings.get(name)})
    needed = estimate(sizes_of(model.adapter, model.transcoders, len(settings["token_ids"]), config))
    token_P = torch.tensor(settings["token_ids"], device=device)
    rows_s, graph_s, parts = [], [], []
    peak_mb, rates = 0.0, {name: 0.0 for name in KINDS}
    count, pulled = dict[str, float](), dict[str, float]()

    def linearise() -> LocalReplacement:
        return model.linearise(token_P, config.keep_first_position)

    def rows(local: LocalReplacement) -> tuple[OutputTargets, np.ndarray]:
        outputs = find(ask(config, model.adapter, model.transcoders, token_P), model.adapter, local, config)
        return outputs, trace_rows(local, outputs, config, None)[1]

    for _ in range(settings["repeat"]):
        times = [now_s(device)]
        local = linearise()
        times.append(now_s(device))
        outputs, selected_A = rows(local)
        times.append(now_s(device))
        rows_s.append(times[2] - times[0])
        parts.append(np.diff(times))
        n_active, shapes = len(local.features), product_shapes(local)
        count = count or count_products(local, selected_A, len(outputs))
        pulled = pulled or count_pulled(local, selected_A, len(outputs))
        del local, outputs  # the next trace has a local model of its own
        if settings.get("graph", True):
            began = now_s(device)
            tracer.attribute(settings["token_ids"], model, config)
            graph_s.append(now_s(device) - began)
        peak_mb = peak_mb or peak_mb_on(device)  # before products are timed: that takes memory too
        for name, shape in shapes.items() if settings.get("bound", True) else ():
            rates[name] = max(rates[name], _rate(*shape, device))
    spent = {}
    if settings.get("profile"):
        spent["linearise"] = where_time_goes(linearise, device)
        local = linearise()
        spent["rows"] = where_time_goes(lambda: rows(local), device)
    bound = {
        "spent_s": spent,
        "gflop": {name: value / 1e9 for name, value in count.items()},
        "gflop_per_s": {name: rate / 1e9 for name, rate in rates.items()},
        "bound_s": sum(pulled[name] / rate for name, rate in rates.items() if rate and name in pulled),
        "done_s": sum(count[name] / rate for name, rate in rates.items() if rate),
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
                "n_active": n_active,
                "peak_mb": peak_mb,
                "libraries_mb": imported_mb if device.type == "cpu" else 0.0,
                "loaded_mb": loaded_mb,
                "estimated_gflop": needed.flop / 1e9,
                "estimated_mb": needed.memory_bytes / 1e6,
            }
            | bound
        )
    )


if __name__ == "__main__":
    main()
