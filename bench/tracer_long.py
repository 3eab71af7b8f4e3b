"""One whole graph of ours, `tracer.attribute` with its defaults, run by `bench.tracer` in a process of its own.

    python -m bench.tracer_long MODEL DICTIONARY SETTINGS      SETTINGS: JSON with token_ids, max_feature_nodes

Prints one line of JSON: CPU seconds, peak memory beside what libraries and loading took of it, and the estimate.
"""

import json
import sys
import time
from pathlib import Path

import torch

import tracer
from bench.tracer_ours import libraries_mb
from tracer.config import TraceConfig
from tracer.estimate import estimate, sizes_of
from tracer.provenance import peak_memory_mb


def main() -> None:
    """Print the line."""
    torch.set_num_threads(1)
    settings = json.loads(sys.argv[3])
    imported_mb = libraries_mb()
    model = tracer.load(Path(sys.argv[1]), Path(sys.argv[2]), device=settings["device"])
    loaded_mb, config = peak_memory_mb(), TraceConfig(max_feature_nodes=settings["max_feature_nodes"])
    needed = estimate(sizes_of(model.adapter, model.transcoders, len(settings["token_ids"]), config))
    began = time.process_time()
    graph = tracer.attribute(settings["token_ids"], model, config)
    took = {
        "graph_s": time.process_time() - began,
        "libraries_mb": imported_mb,
        "loaded_mb": loaded_mb,
        "peak_mb": peak_memory_mb(),
        "estimated_mb": needed.memory_bytes / 1e6,
        "n_active": graph.metadata.provenance["n_active_features"],
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main()
