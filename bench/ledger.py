"""What the number format costs, on the demo model: `python -m bench.ledger`.

How far the effects into nodes are from summing to the values of their nodes (the remainder, in parts of the sum of
their sizes), and how far effects, features and scores are from those in float64.
"""

import json
from dataclasses import dataclass

import numpy as np

import tracer
from bench.measure import print_table
from tracer import AttributionGraph, TraceConfig
from tracer.config import Dtype
from tracer.demo import CLT_DIR, MODEL_DIR, PLT_DIR, PROMPTS_FILE
from tracer.schema import NodeKind

N_PROMPTS = 8  # of those that ship
FORMATS: tuple[Dtype, ...] = ("float64", "float32", "bfloat16", "float16")
HEADER = (
    "dictionary", "format", "largest remainder", "median remainder", "effects off float64", "same features",
    "replacement score off", "completeness score off",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What one format costs on some prompts."""

    largest: float
    """Largest remainder of a node."""
    median: float
    """Median size of the remainders of nodes."""
    effects: float
    """Frobenius norm of the difference to float64's effects, over that of these, edges between nodes of both."""
    features: float
    """Active features in both, over those in either."""
    replacement: float
    """Largest difference of the replacement score."""
    completeness: float
    """Largest difference of the completeness score."""


def main() -> None:
    """Print the table."""
    rows = []
    for folder in (CLT_DIR, PLT_DIR):
        graphs = {dtype: traced(str(folder), dtype) for dtype in FORMATS}
        for dtype in FORMATS:
            cost = cost_of(graphs[dtype], graphs["float64"])
            numbers = (cost.largest, cost.median, cost.effects)
            scores = (cost.replacement, cost.completeness)
            rows.append(
                [
                    folder.name,
                    dtype,
                    *(f"{x:.1e}" for x in numbers),
                    f"{cost.features:.3f}",
                    *(f"{x:.1e}" for x in scores),
                ]
            )
    print_table(HEADER, rows)


def traced(dictionary: str, dtype: Dtype) -> list[AttributionGraph]:
    """Graphs of the shipped prompts in this format."""
    model = tracer.load(str(MODEL_DIR), dictionary, device="cpu", dtype=dtype)
    lines = PROMPTS_FILE.read_text(encoding="utf-8").splitlines()[:N_PROMPTS]
    return [tracer.attribute(json.loads(line)["text"], model, TraceConfig(dtype=dtype)) for line in lines]


def cost_of(ours: list[AttributionGraph], exact: list[AttributionGraph]) -> Cost:
    """How far graphs are from conservation, and from graphs of the same prompts in float64."""
    remainder = np.abs(np.concatenate([graph.nodes["remainder"].to_numpy(float) for graph in ours]))
    pairs = [(_effects(a), _effects(b)) for a, b in zip(ours, exact, strict=True)]
    both = [(a[key], b[key]) for a, b in pairs for key in a.keys() & b.keys()]
    one, two = np.array(both).T
    shared = [(_features(a), _features(b)) for a, b in zip(ours, exact, strict=True)]
    about = [(a.metadata, b.metadata) for a, b in zip(ours, exact, strict=True)]
    return Cost(
        largest=float(np.nanmax(remainder)),
        median=float(np.nanmedian(remainder)),
        effects=float(np.linalg.norm(one - two) / np.linalg.norm(two)),
        features=sum(len(a & b) for a, b in shared) / sum(len(a | b) for a, b in shared),
        replacement=max(abs((a.replacement_score or 0) - (b.replacement_score or 0)) for a, b in about),
        completeness=max(abs((a.completeness_score or 0) - (b.completeness_score or 0)) for a, b in about),
    )


def _effects(graph: AttributionGraph) -> dict[tuple[str, str], float]:
    ids = graph.nodes["node_id"].to_numpy()
    ends = zip(ids[graph.edges.source], ids[graph.edges.target], strict=True)
    return dict(zip(ends, graph.edges.effect.tolist(), strict=True))


def _features(graph: AttributionGraph) -> set[str]:
    return set(graph.nodes["node_id"][graph.slice_of(NodeKind.FEATURE)])


if __name__ == "__main__":
    main()
