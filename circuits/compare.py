"""What two prompts, or two groups of prompts, have in common: nodes, links and circuits, and how alike they are.

Everything goes by names that mean the same in both (`circuits.aligned`): by feature, by label, by supernode, or by
position from either end. Of a group the mean over its graphs counts, zero where a graph lacks a thing.

Raw overlap mostly measures wording, so a similarity says little by itself. Two graphs are compared with how alike
other pairs are; two groups with what they would be had graphs been put into them by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from circuits.aligned import Links, check_aligned, edges_by_name, influence_by_name, names_of
from circuits.config import By
from circuits.mining import MiningConfig, Table, strongest
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

ONLY_A, ONLY_B, STRONGER_IN_A, STRONGER_IN_B, ALIKE = "only A", "only B", "stronger in A", "stronger in B", "alike"
PLACES = (ONLY_A, ONLY_B, STRONGER_IN_A, STRONGER_IN_B, ALIKE)
TEXT = pd.Series(["a"]).dtype  # what pandas takes texts for: it differs between versions
KINDS = (NodeKind.FEATURE, NodeKind.TOKEN, NodeKind.LOGIT)  # what a model says, not what a dictionary misses
ALIKE_WITHIN = 1.5  # strengths whose ratio is below this count as alike
OTHER_PAIRS, BY_CHANCE = "other pairs", "groups by chance"
N_DRAWS = 199
BEAM = 1_000  # paths kept to grow on: a comparison is to take less than 0.1 s


@dataclass(frozen=True)
class Similarity:
    """How alike two sides are, beside what is to be expected."""

    jaccard: float
    """Names in both over names in either, 0 to 1."""
    weighted: float
    """Sum of the smaller strengths over sum of the larger ones, 0 to 1."""
    null: str = ""
    """What `expected` and `p` compare with: `other pairs` or `groups by chance`; empty where there is nothing to."""
    expected: float = float("nan")
    """Mean of `weighted` there."""
    p: float = float("nan")
    """Other pairs: the share that are at least as alike. Groups by chance: the share that are at least as unlike."""
    n: int = 0
    """Pairs or draws compared with."""


@dataclass(frozen=True)
class Comparison:
    """Two sides, thing by thing. Each table has the columns a, b (strength on either side), change (b - a), where."""

    by: str
    """What names rest on."""
    nodes: pd.DataFrame
    """By name; strength is influence."""
    links: pd.DataFrame
    """By source and target; strength is share."""
    circuits: pd.DataFrame
    """By path, as text; strength is the product of its links' strengths."""
    similarity: dict[str, Similarity] = field(default_factory=dict)
    """Of `nodes` and of `links`."""

    def counts(self) -> dict[str, dict[str, int]]:
        """How many nodes, links and circuits are where."""
        tables = {"nodes": self.nodes, "links": self.links, "circuits": self.circuits}
        return {
            name: {place: int((table["where"].to_numpy() == place).sum()) for place in PLACES}
            for name, table in tables.items()
        }

    def as_row(self, limit: int = 20) -> dict[str, Any]:
        """As plain data, of each table the `limit` largest changes."""
        tables = {"nodes": self.nodes, "links": self.links, "circuits": self.circuits}
        return {
            "by": self.by,
            "similarity": {name: vars(each) for name, each in self.similarity.items()},
            "counts": self.counts(),
            **{name: table.head(limit).to_dict("records") for name, table in tables.items()},
        }


def compare(
    a: Sequence[AttributionGraph],
    b: Sequence[AttributionGraph],
    by: By = "feature",
    among: Sequence[AttributionGraph] = (),
    circuits: int = 20,
    draws: int = N_DRAWS,
    seed: int = 0,
) -> Comparison:
    """Two graphs, or two groups of graphs, side by side; in each table the largest changes first.

    Args:
        a: One graph or several.
        b: Likewise.
        by: What names rest on.
        among: Other graphs, whose similarity with the two sides is what two graphs are compared with.
        circuits: How many of the strongest paths of each size, 3 to 6 nodes, are looked at; 0 for none.
        draws: Ways to put the graphs into two groups by chance.

    Raises:
        GraphFormatError: A side is empty, or dictionaries differ and names do not rest on labels.
    """
    _check_sides(a, b, among, by)
    every = [*a, *b, *among]
    named = [(graph, names_of(graph, by)) for graph in every]
    nodes = _Aligned.of_nodes([influence_by_name(*each, KINDS) for each in named])
    links = _Aligned.of_links([edges_by_name(*each, KINDS) for each in named])
    sides = len(a), len(b)
    similarity = {
        name: _similarity(each.strength_GT, *sides, draws, seed) for name, each in (("nodes", nodes), ("links", links))
    }
    node_rows, link_rows = _side_by_side(nodes, *sides), _side_by_side(links, *sides)
    return Comparison(by, node_rows, link_rows, _circuits(links, *sides, circuits), similarity)


def weighted_jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the smaller over sum of the larger, 0 to 1; 1 where there is nothing on either side.

    >>> weighted_jaccard(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    0.3333333333333333
    """
    larger = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / larger) if larger else 1.0


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Of what is on either side, the share that is on both, 0 to 1; 1 where there is nothing."""
    return weighted_jaccard((a > 0).astype(float), (b > 0).astype(float))


@dataclass(frozen=True, eq=False)
class _Aligned:
    """Strengths by thing and graph."""

    names: np.ndarray
    ends: tuple[np.ndarray, ...]
    """Of each thing the names that it is made of, by place: one for nodes, source and target for links."""
    strength_GT: np.ndarray
    """Of the graphs of side A, of side B, then of others."""

    @classmethod
    def of_nodes(cls, graphs: Sequence[tuple[np.ndarray, np.ndarray]]) -> "_Aligned":
        code, names = pd.factorize(np.concatenate([names for names, _ in graphs]))
        strength = np.zeros((len(graphs), len(names)))
        graph = np.repeat(np.arange(len(graphs)), [len(names) for names, _ in graphs])
        strength[graph, code] = np.concatenate([influence for _, influence in graphs])
        return cls(np.asarray(names), (np.arange(len(names)),), strength)

    @classmethod
    def of_links(cls, graphs: Sequence[Links]) -> "_Aligned":
        code, names = pd.factorize(np.concatenate([links.names for links in graphs]))
        first = np.cumsum([0, *(len(links.names) for links in graphs)])
        source, target = (
            np.concatenate([code[begin + end] for begin, end in zip(first, ends, strict=False)])
            for ends in ([links.source for links in graphs], [links.target for links in graphs])
        )
        pair, thing = np.unique(source * len(names) + target, return_inverse=True)
        graph = np.repeat(np.arange(len(graphs)), [len(links.source) for links in graphs])
        place, share = graph * len(pair) + thing, np.concatenate([links.share for links in graphs])
        strength = np.bincount(place, share, len(graphs) * len(pair)).reshape(len(graphs), -1)
        return cls(np.asarray(names), np.divmod(pair, max(len(names), 1)), strength)


def _side_by_side(aligned: _Aligned, n_a: int, n_b: int) -> pd.DataFrame:
    a, b = aligned.strength_GT[:n_a].mean(axis=0), aligned.strength_GT[n_a : n_a + n_b].mean(axis=0)
    there = np.flatnonzero((a > 0) | (b > 0))
    titles = ["name"] if len(aligned.ends) == 1 else ["source", "target"]
    ends = {title: end[there] for title, end in zip(titles, aligned.ends, strict=True)}
    return _table(aligned.names, ends, a[there], b[there])


def _table(names: np.ndarray, things: dict[str, np.ndarray], a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """The largest changes first; `things` are places in `names`."""
    where = np.where(a > ALIKE_WITHIN * b, 2, np.where(b > ALIKE_WITHIN * a, 3, 4))
    where[b == 0], where[a == 0] = 0, 1
    order = np.argsort(-np.abs(b - a))
    # texts are taken by place: to make them of Python's anew takes ten times as long as all the rest
    called, place = pd.Series(names, dtype=TEXT).array, pd.Series(PLACES, dtype=TEXT).array
    columns = {title: called.take(code[order]) for title, code in things.items()}
    columns |= {"a": a[order], "b": b[order], "change": (b - a)[order], "where": place.take(where[order])}
    return pd.DataFrame(columns)


def _similarity(strength_GT: np.ndarray, n_a: int, n_b: int, draws: int, seed: int) -> Similarity:
    own, others = strength_GT[: n_a + n_b], strength_GT[n_a + n_b :]
    a, b = own[:n_a].mean(axis=0), own[n_a:].mean(axis=0)
    same, weighted = jaccard(a, b), weighted_jaccard(a, b)
    if len(others):
        pairs = np.array([weighted_jaccard(side, other) for side in (a, b) for other in others])
        p = float((1 + (pairs >= weighted).sum()) / (1 + len(pairs)))
        return Similarity(same, weighted, OTHER_PAIRS, float(pairs.mean()), p, len(pairs))
    if n_a < 2 or n_b < 2:
        return Similarity(same, weighted)
    random, dealt = np.random.default_rng(seed), np.empty(draws)
    for draw in range(draws):
        order = random.permutation(len(own))
        dealt[draw] = weighted_jaccard(own[order[:n_a]].mean(axis=0), own[order[n_a:]].mean(axis=0))
    # sums of the same numbers in another order are no difference
    p = float((1 + (dealt <= weighted * (1 + 1e-9)).sum()) / (1 + draws))
    return Similarity(same, weighted, BY_CHANCE, float(dealt.mean()), p, draws)


def _circuits(links: _Aligned, n_a: int, n_b: int, limit: int) -> pd.DataFrame:
    """The strongest paths of either side, with their strength on both."""
    paths: dict[tuple[str, ...], tuple[float, float]] = {}
    if limit:
        source, target = links.ends
        mean_ST = np.stack([links.strength_GT[:n_a].mean(axis=0), links.strength_GT[n_a : n_a + n_b].mean(axis=0)])
        table = Table.of_pairs(["a", "b"], links.names, source, target, mean_ST.T.astype(np.float32))
        found = strongest(table, MiningConfig(limit=limit, beam=BEAM, dealt=0), least=1)
        paths = {circuit.names: (float(circuit.strength[0]), float(circuit.strength[1])) for circuit in found}
    a, b = np.array(list(paths.values())).reshape(-1, 2).T
    names = np.array([" -> ".join(path) for path in paths], object)
    return _table(names, {"circuit": np.arange(len(paths))}, a, b)


def _check_sides(
    a: Sequence[AttributionGraph], b: Sequence[AttributionGraph], among: Sequence[AttributionGraph], by: By
) -> None:
    if not a or not b:
        raise GraphFormatError(
            f"the sides have {len(a)} and {len(b)} graphs; expected at least one on each. Name graphs for both."
        )
    check_aligned((graph.metadata.source_set for graph in (*a, *b, *among)), by)
