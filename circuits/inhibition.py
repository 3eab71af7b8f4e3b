"""What argues against: negative effects on the nodes of a circuit, and what holds the runner-up answer down."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from circuits.matters import Passing
from circuits.walks import Way
from tracer.errors import SettingError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind


@dataclass(frozen=True)
class Inhibitor:
    """A negative effect on a node that the flow of a circuit passes through."""

    source: int
    target: int
    effect: float
    share: float
    """Of the input of its target."""
    weight: float
    """Share, times the part of the flow that passes through the target: 0 to 1."""
    on_path: bool
    """Whether flow passes through the source too."""


@dataclass(frozen=True)
class Suppressor:
    """A node that holds the runner-up output down."""

    row: int
    on_rival: float
    """Sum over all paths to the runner-up of the product of signed shares; below zero."""
    on_answer: float
    """The same for the answer."""
    direct: float
    """Signed direct effect on the runner-up; 0 where there is no edge."""


def inhibitors(
    graph: AttributionGraph, groups: Sequence[np.ndarray], sign: str = "any", ways: Sequence[Way] | None = None
) -> list[Inhibitor]:
    """All negative effects on nodes of the circuit, outputs included, heaviest first; arguments as for `flow`."""
    passing = Passing(graph, groups, sign, ways)
    part_N = passing.through_N / (passing.flow or 1.0)
    edges = graph.edges
    against = np.flatnonzero((edges.effect < 0) & (part_N[edges.target] > 0))
    found = [
        Inhibitor(source, target, effect, share, share * min(1.0, float(part_N[target])), bool(part_N[source] > 0))
        for source, target, effect, share in zip(
            *(column[against].tolist() for column in (edges.source, edges.target, edges.effect, edges.share)),
            strict=True,
        )
    ]
    return sorted(found, key=lambda each: (-each.weight, each.source, each.target))


def suppressors(graph: AttributionGraph, answer: int | None = None, rival: int | None = None) -> list[Suppressor]:
    """The nodes whose paths to the runner-up output add up to less than zero, strongest first.

    Args:
        answer: Row of the answer; the most probable output if not given.
        rival: Row of the runner-up; the most probable of the others if not given.

    Raises:
        SettingError: The graph explains one output alone, or the two are not different outputs.
    """
    answer, rival = _outputs(graph, answer, rival)
    on_rival_N, on_answer_N = signed_influence(graph, rival), signed_influence(graph, answer)
    direct_N = np.zeros(len(graph.nodes))
    into = graph.edges.target == rival
    direct_N[graph.edges.source[into]] = graph.edges.effect[into]
    rows = np.flatnonzero(on_rival_N < 0)
    rows = rows[np.argsort(on_rival_N[rows], kind="stable")]
    return [Suppressor(int(n), float(on_rival_N[n]), float(on_answer_N[n]), float(direct_N[n])) for n in rows]


def signed_influence(graph: AttributionGraph, output: int) -> np.ndarray:
    """(N,) sum over all paths from each node to this one of the product of signed shares, -1 to 1; itself counts 0."""
    edges, n = graph.edges, len(graph.nodes)
    weight_E = np.copysign(edges.share.astype(np.float64), edges.effect)
    back_NN = csr_array((weight_E, (edges.source, edges.target)), shape=(n, n))
    hop_N = np.zeros(n)
    hop_N[output] = 1.0
    total_N = np.zeros(n)
    for _ in range(n):  # a path has fewer edges than there are nodes
        hop_N = back_NN @ hop_N
        if not hop_N.any():
            break
        total_N += hop_N
    return total_N


def _outputs(graph: AttributionGraph, answer: int | None, rival: int | None) -> tuple[int, int]:
    own = graph.slice_of(NodeKind.LOGIT)
    outputs = sorted(range(own.start, own.stop), key=lambda row: -graph.logit_weight_N[row])
    answer = outputs[0] if answer is None and outputs else answer
    others = [row for row in outputs if row != answer]
    if rival is None and others:
        rival = others[0]
    if answer not in outputs or rival not in others:
        raise SettingError(
            f"graph {graph.graph_id} ({graph.metadata.slug}) explains {len(outputs)} outputs, and rows {answer} and "
            f"{rival} were asked for; expected two different outputs. Trace with the target `logit` and more outputs."
        )
    return answer, rival
