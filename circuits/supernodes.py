"""Supernodes: features of a graph that play one part, grouped by hand or by their edges, co-activation and labels.

Source: Ameisen et al. 2025, "Circuit Tracing", for the criteria (members promote each other, and act on others with one
sign) and for the merged weights.  https://transformer-circuits.pub/2025/attribution-graphs/methods.html
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform

from tracer.errors import PatternError, SettingError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

MOST_FEATURES = 500  # the most influential ones are grouped: their similarities are a square matrix
LEAST_SIMILAR = 0.5  # of any two members
BY_HAND, BY_PROFILE = "by hand", "edge profiles, co-activation and labels; complete link"
FROM_FILE = "in the file of the graph"


@dataclass(frozen=True)
class Score:
    """How well a group meets the criteria; each 0 to 1, NaN where nothing bears on it."""

    promote: float
    """Of the direct effects between members, by share, the part that is positive."""
    same_sign: float
    """Of the effects on each node outside that two or more members act on, the part left when signs cancel."""

    @property
    def value(self) -> float:
        """Mean of those that are known; NaN if none is."""
        known = [each for each in (self.promote, self.same_sign) if each == each]
        return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True)
class Supernode:
    """A named group of nodes."""

    name: str
    rows: tuple[int, ...]
    """Its members, ascending."""
    method: str
    """How it was made."""
    score: Score
    by: str = ""
    """Whose it is."""

    def as_row(self, graph: AttributionGraph) -> dict[str, Any]:
        """As plain data, with the node_ids of its members; a score that is not known is None."""
        ids = graph.nodes["node_id"].iloc[list(self.rows)].tolist()
        numbers = {"score": self.score.value, "promote": self.score.promote, "same_sign": self.score.same_sign}
        known = {name: None if value != value else value for name, value in numbers.items()}
        return {"name": self.name, "members": ids, "method": self.method, "by": self.by} | known


def suggested_supernodes(
    graph: AttributionGraph,
    least: float = LEAST_SIMILAR,
    most: int = MOST_FEATURES,
    others: Iterable[AttributionGraph] = (),
) -> list[Supernode]:
    """Groups of at least two features of which any two are similar, the most influential group first.

    Args:
        least: Similarity that any two members have at least, -1 to 1; see `similarities`.
        most: How many features are grouped, the most influential ones.
        others: Graphs that also tell which features are active together.

    Raises:
        SettingError: `least` or `most` cannot be used, or a graph in `others` has another dictionary.
    """
    if not -1 <= least <= 1 or most < 2:
        raise SettingError(
            f"least is {least} and most {most}; expected a similarity of -1 to 1, and at least 2 features. Change them."
        )
    own = graph.slice_of(NodeKind.FEATURE)
    influence_N = graph.nodes["influence"].to_numpy()
    rows = np.arange(own.start, own.stop)
    rows = np.sort(rows[np.argsort(-influence_N[rows], kind="stable")[:most]])
    if len(rows) < 2:
        return []
    distance = np.clip(1 - similarities(graph, rows, others), 0, 2)
    np.fill_diagonal(distance, 0)
    number = fcluster(linkage(squareform(distance, checks=False), "complete"), 1 - least, "distance")
    groups = [rows[number == each] for each in np.unique(number)]
    groups = sorted((group for group in groups if len(group) > 1), key=lambda g: (-influence_N[g].sum(), g[0]))
    names = _distinct([_name(graph, group) for group in groups])
    return [
        Supernode(name, tuple(group.tolist()), BY_PROFILE, score(graph, group))
        for name, group in zip(names, groups, strict=True)
    ]


def supernodes_by_hand(graph: AttributionGraph, members: Mapping[str, Sequence[str]], by: str = "") -> list[Supernode]:
    """Groups given as name -> node_ids.

    Args:
        by: Whose they are.

    Raises:
        PatternError: A node is not there, or stands in two groups.
    """
    row_of = {node: row for row, node in enumerate(graph.nodes["node_id"])}
    used: dict[str, str] = {}
    made = []
    for name, nodes in members.items():
        for node in nodes:
            if node not in row_of:
                near = ", ".join(difflib.get_close_matches(node, row_of, 3)) or next(iter(row_of), "none")
                raise PatternError(
                    f"supernode {name!r}: there is no node {node!r} in graph {graph.graph_id} "
                    f"({graph.metadata.slug}); nearest are {near}. Name one of its nodes."
                )
            if used.setdefault(node, name) != name:
                raise PatternError(
                    f"node {node!r} is in supernodes {used[node]!r} and {name!r}; expected one. Take it out of one."
                )
        rows = np.unique([row_of[node] for node in nodes]).astype(np.int64)
        made.append(Supernode(name, tuple(rows.tolist()), BY_HAND, score(graph, rows), by))
    return made


def with_supernodes(graph: AttributionGraph, supernodes: Sequence[Supernode]) -> AttributionGraph:
    """The graph with these supernodes in place of its own, for `supernode:` in patterns."""
    rows = [each.as_row(graph) for each in supernodes]
    kept = [{"label": row["name"]} | {key: row[key] for key in ("members", "method", "by", "score")} for row in rows]
    provenance = graph.metadata.provenance | {"supernodes": kept}
    return replace(graph, metadata=replace(graph.metadata, provenance=provenance))


def supernodes_of(graph: AttributionGraph) -> list[Supernode]:
    """The supernodes of a graph with their score; for those that came with a file, whose they are where it says so."""
    provenance = graph.metadata.provenance
    row_of = {node: row for row, node in enumerate(graph.nodes["node_id"])}
    found = []
    for group in provenance.get("supernodes") or []:
        rows = np.unique([row_of[node] for node in group["members"] if node in row_of]).astype(np.int64)
        by = group.get("by") or next(
            (taken.get("by") for taken in provenance.get("taken", []) if group in taken.get("supernodes", [])), None
        )
        method = group.get("method") or FROM_FILE
        found.append(Supernode(group["label"], tuple(rows.tolist()), method, score(graph, rows), by or ""))
    return found


def score(graph: AttributionGraph, rows: np.ndarray) -> Score:
    """How well these nodes meet the criteria of the paper."""
    edges = graph.edges
    weight_E = np.copysign(edges.share.astype(np.float64), edges.effect)
    member_N = np.zeros(len(graph.nodes), bool)
    member_N[rows] = True
    within_E = member_N[edges.source] & member_N[edges.target]
    out_E = np.flatnonzero(member_N[edges.source] & ~member_N[edges.target])
    target = edges.target[out_E]
    n = len(graph.nodes)
    several_N = np.bincount(target, minlength=n) > 1
    net_N = np.abs(np.bincount(target, weights=weight_E[out_E], minlength=n))
    size_N = np.bincount(target, weights=np.abs(weight_E[out_E]), minlength=n)
    return Score(
        promote=_ratio(np.maximum(weight_E[within_E], 0).sum(), np.abs(weight_E[within_E]).sum()),
        same_sign=_ratio(net_N[several_N].sum(), size_N[several_N].sum()),
    )


def merged_weights(graph: AttributionGraph, groups: Sequence[np.ndarray]) -> np.ndarray:
    """(G, G) weights between groups of nodes; row = target, column = source, as shares with a sign.

    The weight from s to t is the mean over the members of t of what comes from members of s, as signed share of all
    input, where each member counts by the part of its input that comes from outside t. A node alone is a group of one;
    a group whose members have no input from outside gets zeros.
    """
    edges, n = graph.edges, len(graph.nodes)
    weight_E = np.copysign(edges.share.astype(np.float64), edges.effect)
    signed_NN = csr_array((weight_E, (edges.target, edges.source)), shape=(n, n))
    at = np.concatenate([np.asarray(group, np.int64) for group in groups])
    column = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    member_NG = csr_array((np.ones(len(at)), (at, column)), shape=(n, len(groups)))
    from_groups_NG = csr_array(signed_NN @ member_NG).toarray()
    size_NG, size_N = csr_array(abs(signed_NN) @ member_NG).toarray(), abs(signed_NN).sum(axis=1)
    merged_GG = np.zeros((len(groups), len(groups)))
    for target, rows in enumerate(groups):
        outside = size_N[rows] - size_NG[rows, target]
        external = np.divide(outside, size_N[rows], out=np.zeros(len(rows)), where=size_N[rows] > 0)
        if external.sum() > 1e-12:  # rounding
            merged_GG[target] = external @ from_groups_NG[rows] / external.sum()
    np.fill_diagonal(merged_GG, 0)
    return merged_GG


def similarities(graph: AttributionGraph, rows: np.ndarray, others: Iterable[AttributionGraph] = ()) -> np.ndarray:
    """(A, A) similarity of features, -1 to 1: the mean of what is known of four.

    The cosine of their signed shares in the input of others; that of where their own input comes from; that of their
    activations over the positions of this graph and of `others`; and the part of the words of their labels that they
    have in common.
    """
    edges, n = graph.edges, len(graph.nodes)
    weight_E = np.copysign(edges.share.astype(np.float64), edges.effect)
    into_NN = csr_array((weight_E, (edges.target, edges.source)), shape=(n, n))
    known = [
        _cosine(csr_array(into_NN[rows])),
        _cosine(csr_array(into_NN.T.tocsr()[rows])),
        _cosine(_activations(graph, rows, others)),
        _labels_in_common(graph.nodes["label"].iloc[rows].tolist()),
    ]
    stacked = np.stack(known)
    there = ~np.isnan(stacked)
    return np.where(there, stacked, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)


def _activations(graph: AttributionGraph, rows: np.ndarray, others: Iterable[AttributionGraph]) -> csr_array:
    """(A, places) activation of the feature of each row at every position of these graphs."""
    features = list(zip(graph.nodes["layer"].iloc[rows], graph.nodes["index"].iloc[rows], strict=True))
    at: dict[tuple[int, int], list[int]] = {}
    for number, feature in enumerate(features):
        at.setdefault(feature, []).append(number)
    values, numbers, places, offset = [], [], [], 0
    for each in (graph, *others):
        if each.metadata.source_set != graph.metadata.source_set:
            raise SettingError(
                f"graph {each.graph_id} has features of {each.metadata.source_set}, and {graph.graph_id} of "
                f"{graph.metadata.source_set}; expected one dictionary, as features of two are never the same. "
                "Leave it out."
            )
        nodes = each.nodes.iloc[each.slice_of(NodeKind.FEATURE)]
        columns = (nodes[name].tolist() for name in ("layer", "index", "position", "activation"))
        for layer, index, position, activation in zip(*columns, strict=True):
            for number in at.get((layer, index), ()):
                values.append(1.0 if activation != activation else activation)  # where unknown, that it is active
                numbers.append(number)
                places.append(offset + position)
        offset += max(len(each.metadata.tokens), int(each.nodes["position"].to_numpy().max(initial=0)) + 1)
    return csr_array((values, (numbers, places)), shape=(len(rows), offset))


def _cosine(vectors: csr_array) -> np.ndarray:
    """Of each two rows; NaN where one is zero."""
    length = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
    products = (vectors @ vectors.T).toarray()
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / np.outer(length, length)


def _labels_in_common(labels: Sequence[str]) -> np.ndarray:
    """Jaccard of the words of each two labels; NaN where one has none."""
    words = [set(re.findall(r"\w+", label.casefold())) for label in labels]
    vocabulary = {word: at for at, word in enumerate(sorted(set().union(*words)))}
    at = [(number, vocabulary[word]) for number, each in enumerate(words) for word in each]
    rows, columns = zip(*at, strict=True) if at else ((), ())
    has = csr_array((np.ones(len(at)), (rows, columns)), shape=(len(words), max(len(vocabulary), 1)))
    common = (has @ has.T).toarray()
    size = np.diag(common)
    with np.errstate(invalid="ignore", divide="ignore"):
        jaccard = common / (size[:, None] + size[None, :] - common)
    jaccard[(size == 0)[:, None] | (size == 0)[None, :]] = np.nan
    return jaccard


def _name(graph: AttributionGraph, rows: np.ndarray) -> str:
    """The label that most members have; the one of the most influential where all differ, or its layer and index."""
    nodes = graph.nodes.iloc[rows]
    by_influence = nodes.iloc[np.argsort(-nodes["influence"].to_numpy(), kind="stable")]
    labels = [label.strip() for label in by_influence["label"] if label.strip()]
    if labels:
        return Counter(labels).most_common(1)[0][0]  # the first of equally common ones
    return f"{by_influence['layer'].iloc[0]}/{by_influence['index'].iloc[0]}"


def _distinct(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
