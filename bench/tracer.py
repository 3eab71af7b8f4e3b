"""The tracer: ours beside circuit-tracer 0.5.0 and beside the arithmetic of the method, the same work in one run.

    python -m bench.tracer [--no-peer] [--repeat N] [--scaling] [--long] [--device cuda]

Single precision, one thread, CPU seconds, a random model in the shape of Gemma 2 with 12 layers and width 512 (see
tracer_model.py). Each trace runs in a process of its own; loading is told apart, and so is the first trace, which pays
for what the later ones find in memory. The peer gets an environment of its own in the user's cache, made on first use,
and runs at its best batch size. `bound` is the arithmetic of rows pulled to the bottom, `products done` is what is left
of it. `rows` is what its `attribute` does: everything up to the matrix of direct effects;
`graph` adds pruning and scores, and for ours names and provenance. Memory is the most that a process ever held;
libraries are what importing torch and the model's classes took of it, before anything was loaded.

With `--device cuda`: the same on a GPU, in wall seconds, and a random model in the shape of Gemma 2 2B; memory is the
GPU's, and what loading took is told apart.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measure import print_table
from bench.tracer_model import LARGE, SMALL, Shape, bench_folder, prompt, random_model
from tracer.estimate import Sizes, estimate

PEER = ("torch==2.13.0", "circuit-tracer==0.5.0", "nnsight==0.6.1", "transformer-lens==3.2.1", "transformers==4.57.3")
WORK = (  # dictionary, tokens, features (0: all), the peer's batch sizes to try: its best on a CPU is small
    ("plt", 10, 0, (16, 32, 64)),
    ("clt", 10, 0, (8, 16, 32)),
    ("plt", 60, 1000, (4, 8, 16)),
    ("plt", 120, 200, (4, 8, 16)),
)
GPU_WORK = (  # of the shape beside it
    *((SMALL, *work[:3], (128, 512)) for work in WORK),
    (LARGE, "plt", 60, 7500, (256,)),
    (LARGE, "plt", 240, 1000, (64,)),
)

SIZES = ((30, 200), (60, 1000), (120, 500), (240, 200))  # tokens, features
LONG, LONG_FEATURES = 2000, 100
GEMMA_2_2B = Sizes(
    n_layers=26,
    d_model=2304,
    n_heads=8,
    n_kv_heads=4,
    d_head=256,
    d_vocab=256_000,
    n_weights=2_614_000_000,
    n_features=16_384,
    cross_layer=False,
    n_tokens=6000,
    n_traced=7500,
    max_edges_per_node=20_000,
)
GPU_FLOP_PER_S = 4e13  # an H100 in single precision, some way below its 67 TFLOP/s


def peer_python() -> Path:
    """Python of the environment with the peer in it, made on first use."""
    folder = bench_folder() / "-".join(("peer", *(package.split("==")[1] for package in PEER)))
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if (folder / "complete").is_file():
        return python
    print(f"installing {PEER[1]} into an environment of its own, once", file=sys.stderr)
    if shutil.which("uv"):
        subprocess.run(["uv", "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", python, *PEER], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEER], check=True)
    (folder / "complete").touch()
    return python


def run(
    command: Sequence[str | Path], dictionary: str, shape: Shape = SMALL, device: str = "cpu", **settings: Any
) -> dict[str, Any]:
    """What one trace in a process of its own prints, on one thread."""
    folder = random_model(shape, device)
    arguments = [*command, folder / "model", folder / dictionary, json.dumps(settings | {"device": device})]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(arguments, env=one_thread, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"a trace failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def best_of_peer(
    dictionary: str, shape: Shape, device: str, n_tokens: int, n_features: int, batch_sizes: Sequence[int]
) -> dict[str, Any]:
    """The peer's fastest trace over these batch sizes."""
    peer = [peer_python(), Path(__file__).with_name("tracer_peer.py")]
    settings = {"token_ids": prompt(n_tokens), "max_feature_nodes": n_features or None}
    tried = []
    for size in batch_sizes:
        tried.append({"batch": size} | run(peer, dictionary, shape, device, batch_size=size, **settings))
        print(f"the peer at batch {size}: {tried[-1]['rows_s']:.2f} s", file=sys.stderr, flush=True)
    return min(tried, key=lambda one: one["rows_s"])


def measure(peer: bool, repeat: int, device: str) -> None:
    """Print the table of the pieces of work."""
    rows, details, spent = [], [], []
    before = "libraries_mb" if device == "cpu" else "loaded_mb"
    for shape, dictionary, n_tokens, n_features, batch_sizes in (
        ((SMALL, *work) for work in WORK) if device == "cpu" else GPU_WORK
    ):
        ours = run(
            [sys.executable, "-m", "bench.tracer_ours"],
            dictionary,
            shape,
            device,
            token_ids=prompt(n_tokens),
            max_feature_nodes=n_features,
            repeat=repeat,
            profile=True,
        )
        what = f"{dictionary.upper()}, {n_tokens} tokens, {ours['n_features']:,} of {ours['n_active']:,} features"
        what = what if shape is SMALL else f"{shape.name}, {what}"
        print(f"{what}: {ours['rows_s']:.2f} s", file=sys.stderr, flush=True)
        row = [what, f"{ours['rows_s']:.2f} s"]
        for bound in ("bound_s", "done_s"):
            row += [f"{ours[bound]:.2f} s", f"{ours['rows_s'] / ours[bound]:.2f}x"]
        if peer:
            theirs = best_of_peer(dictionary, shape, device, n_tokens, n_features, batch_sizes)
            assert theirs["n_active"] == ours["n_active"], "the peer did other work"
            row += [f"{theirs['rows_s']:.1f} s (batch {theirs['batch']})", f"{theirs['rows_s'] / ours['rows_s']:.1f}x"]
            row += [f"{theirs['graph_s'] / ours['graph_s']:.1f}x", f"{theirs['peak_mb']:,.0f} MB"]
        rows.append([*row, f"{ours['peak_mb']:,.0f} MB", f"{ours['peak_mb'] - ours[before]:,.0f} MB"])
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in ours["gflop_per_s"].items())
        seconds = (f"{ours[name]:.2f} s" for name in ("load_s", "cold_s", "linearise_s", "rows_s", "graph_s"))
        for part, seconds_by_kind in ours["spent_s"].items():
            spent.append([what, part, *(f"{took_s:.2f} s" for took_s in seconds_by_kind.values())])
        details.append([what, *seconds, f"{sum(ours['gflop'].values()):.0f} GFLOP", rates])
    beside = ["peer's rows", "rows: less time", "graph: less time", "peer's memory"] if peer else []
    memory = ["our memory", f"over {before.removesuffix('_mb')}"]
    print_table(["work", "our rows", "bound", "of bound", "products done", "of these", *beside, *memory], rows)
    print()
    print_table(
        ["work", "load", "first rows", "linearise", "rows", "graph", "arithmetic", "products, GFLOP/s"], details
    )
    print("\nWhere the seconds of one trace go, by torch's profiler, which takes a little itself:\n")
    print_table(["work", "part", "products", "moving numbers", "other operators", "numpy and Python"], spent)


def scaling() -> None:
    """Print the estimate of four sizes beside what they took, and what it says of a large model and a long prompt."""
    rows, rates = [], []
    for n_tokens, n_features in SIZES:
        ours = run(
            [sys.executable, "-m", "bench.tracer_ours"],
            "plt",
            token_ids=prompt(n_tokens),
            max_feature_nodes=n_features,
            repeat=1,
            bound=False,
        )
        rates.append(ours["estimated_gflop"] / ours["rows_s"])
        took_mb = ours["peak_mb"] - ours["loaded_mb"]
        work = f"{n_tokens} tokens, {n_features:,} features"
        arithmetic = f"{ours['estimated_gflop']:,.0f} GFLOP"
        row = [work, arithmetic, f"{ours['rows_s']:.1f} s", f"{rates[-1]:.0f} GFLOP/s"]
        rows.append(
            [*row, f"{ours['estimated_mb']:,.0f} MB", f"{took_mb:,.0f} MB", f"{took_mb / ours['estimated_mb']:.2f}x"]
        )
    print_table(["work", "estimate", "took", "rate", "memory, estimate", "took", "of estimate"], rows)
    print()
    needed, rate = estimate(GEMMA_2_2B), sorted(rates)[len(rates) // 2] * 1e9
    large = f"gemma-2-2b, {GEMMA_2_2B.n_tokens:,} tokens, {GEMMA_2_2B.n_traced:,} features"
    weights_gb = GEMMA_2_2B.n_weights * GEMMA_2_2B.number_bytes / 1e9
    memory = f"{needed.memory_bytes / 1e9:,.0f} GB and {weights_gb:.0f} GB of weights"
    hours, gpu = f"{needed.seconds(rate) / 3600:.0f} h", f"{needed.seconds(GPU_FLOP_PER_S) / 3600:.1f} h"
    print_table(
        ["work", "estimate", "at the rate above", f"at {GPU_FLOP_PER_S / 1e12:.0f} TFLOP/s", "memory"],
        [[large, f"{needed.flop / 1e15:,.1f} PFLOP", hours, gpu, memory]],
    )


def long_prompt() -> None:
    """Print time and memory of 2,000 tokens, by dictionary."""
    rows = []
    for dictionary in ("plt", "clt"):
        ours = run(
            [sys.executable, "-m", "bench.tracer_long"],
            dictionary,
            token_ids=prompt(LONG),
            max_feature_nodes=LONG_FEATURES,
        )
        work = f"{dictionary.upper()}, {LONG:,} tokens, {LONG_FEATURES} of {ours['n_active']:,} features"
        memory = (ours["peak_mb"], *(ours["peak_mb"] - ours[name] for name in ("libraries_mb", "loaded_mb")))
        told = (f"{mb:,.0f} MB" for mb in (*memory, ours["estimated_mb"]))
        rows.append([work, f"{ours['graph_s']:.0f} s", *told])
    print_table(["work", "graph", "memory of the process", "over libraries", "over loaded", "estimate of that"], rows)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out")
    parser.add_argument("--repeat", type=int, default=3, help="traces of ours; the fastest counts")
    parser.add_argument("--scaling", action="store_true", help="only the estimate beside four measured sizes")
    parser.add_argument("--long", action="store_true", help="only a prompt of 2,000 tokens")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: only the first table, on a GPU")
    chosen = parser.parse_args(list(arguments))
    if chosen.device != "cpu":
        measure(not chosen.no_peer, chosen.repeat, chosen.device)
        return
    every = not (chosen.scaling or chosen.long)
    if every:
        measure(not chosen.no_peer, chosen.repeat, chosen.device)
        print()
    if every or chosen.scaling:
        scaling()
        print()
    if every or chosen.long:
        long_prompt()


if __name__ == "__main__":
    main(sys.argv[1:])
