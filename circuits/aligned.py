"""Names under which nodes of different graphs are the same, and graphs as tables of these names.

    feature     20/15589      an entry of the dictionary, at whatever position
    label       Texas         what features are thought to mean; those without a label are left out
    position    20/15589@9    a feature at its position; `position-from-end`: 20/15589@-2, counted from the last token
    supernode   capitals      the groups that a graph brings along; features outside them are left out

Tokens and outputs go by their text everywhere, errors by their layer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pandas as pd

from circuits.config import By
from circuits.promptset import check_dictionaries
from tracer.errors import SettingError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

FEATURE = str(NodeKind.FEATURE)  # a plain text is compared in a tenth of the time
LINK_COLUMNS = ("graph_id", "source", "target", "share", "signed", "source_layer", "target_layer")


def names_of(graph: AttributionGraph, by: By = "feature") -> np.ndarray:
    """(N,) the name of each node, empty where it has none; see the head of this module."""
    if by not in get_args(By):
        raise SettingError(f"nodes cannot be aligned by {by!r}; expected one of {', '.join(get_args(By))}. Use one.")
    nodes = graph.nodes
    kinds, labels, layers, indices = (nodes[name].tolist() for name in ("kind", "label", "layer", "index"))
    if by == "label":
        of_feature = [" ".join(label.split()) for label in labels]
    elif by == "supernode":
        member_of = _member_of(graph)
        of_feature = [member_of.get(node_id, "") for node_id in nodes["node_id"].tolist()]
    else:
        of_feature = [f"{layer}/{index}" for layer, index in zip(layers, indices, strict=True)]
    names = [
        own if kind == FEATURE else _name_of_other(kind, label, layer)
        for kind, own, label, layer in zip(kinds, of_feature, labels, layers, strict=True)
    ]
    if by in ("position", "position-from-end"):
        end = len(graph.metadata.tokens) if by == "position-from-end" else 0
        positions = nodes["position"].tolist()
        names = [
            f"{name}@{position - end}" if position >= 0 else name
            for name, position in zip(names, positions, strict=True)
        ]
    return np.array(names, object)


def _name_of_other(kind: str, label: str, layer: int) -> str:
    """What is no feature goes by its text or its layer."""
    match kind:
        case NodeKind.TOKEN:
            return f"token {label.strip()}"
        case NodeKind.LOGIT:
            return f"output {label.strip()}"
        case NodeKind.ERROR:
            return f"error L{layer}"
        case _:
            return label or "bias"


def influence_of(
    graph: AttributionGraph, by: By = "feature", kinds: Sequence[NodeKind] = tuple(NodeKind)
) -> tuple[np.ndarray, np.ndarray]:
    """(every name of these kinds of nodes, the influence of its nodes together)."""
    return influence_by_name(graph, names_of(graph, by), kinds)


def influence_by_name(
    graph: AttributionGraph, names_N: np.ndarray, kinds: Sequence[NodeKind]
) -> tuple[np.ndarray, np.ndarray]:
    """The same under these names of the nodes."""
    used_N = _used(graph, names_N, kinds)
    code, names = pd.factorize(names_N[used_N])
    return np.asarray(names), np.bincount(code, graph.nodes["influence"].to_numpy(np.float64)[used_N], len(names))


@dataclass(frozen=True, eq=False)
class Links:
    """The links between the names of one graph."""

    names: np.ndarray
    """(M,) every name once."""
    layer: np.ndarray
    """(M,) mean layer of its nodes."""
    source: np.ndarray
    """(L,) place in `names`."""
    target: np.ndarray
    """(L,) likewise."""
    share: np.ndarray
    """(L,) what the source gives of the input of the target, 0 to 1; a target of several nodes counts each by its
    influence."""
    signed: np.ndarray
    """(L,) the same with the sign of each effect."""

    def merged(self) -> "Links":
        """One entry a pair of names, where there may be one an edge."""
        n = max(len(self.names), 1)
        pair, row = np.unique(self.source * n + self.target, return_inverse=True)
        a, b = np.divmod(pair, n)
        share, signed = (np.bincount(row, each, len(pair)) for each in (self.share, self.signed))
        return replace(self, source=a, target=b, share=share, signed=signed)


def links_of(graph: AttributionGraph, by: By = "feature", kinds: Sequence[NodeKind] = tuple(NodeKind)) -> Links:
    """The links between the names of a graph, of these kinds of nodes, one entry a pair."""
    return edges_by_name(graph, names_of(graph, by), kinds).merged()


def edges_by_name(graph: AttributionGraph, names_N: np.ndarray, kinds: Sequence[NodeKind]) -> Links:
    """The edges between nodes of these kinds under these names of the nodes, one entry an edge."""
    nodes, edges = graph.nodes, graph.edges
    used_N = _used(graph, names_N, kinds)
    code_N, names = pd.factorize(names_N)
    n = len(names)
    weight_N = nodes["influence"].to_numpy(np.float64) + 1e-12  # those of no influence count alike among themselves
    weight_N = weight_N / np.bincount(code_N, np.where(used_N, weight_N, 0.0), n)[code_N].clip(1e-30)
    chosen = np.flatnonzero(used_N[edges.source] & used_N[edges.target])
    source, target = edges.source[chosen], edges.target[chosen]
    share = edges.share[chosen] * weight_N[target]
    layer = np.bincount(code_N, nodes["layer"].to_numpy(np.float64), n) / np.bincount(code_N, minlength=n).clip(1)
    signed = share * np.sign(edges.effect[chosen])
    return Links(np.asarray(names), layer, code_N[source], code_N[target], share, signed)


def _used(graph: AttributionGraph, names_N: np.ndarray, kinds: Sequence[NodeKind]) -> np.ndarray:
    return (names_N != "") & graph.nodes["kind"].isin([str(kind) for kind in kinds]).to_numpy()


def link_table(
    graph: AttributionGraph, by: By = "feature", kinds: Sequence[NodeKind] = tuple(NodeKind)
) -> pd.DataFrame:
    """The links between the names of a graph as a table, columns as LINK_COLUMNS; see `Links` for what they mean."""
    links = links_of(graph, by, kinds)
    layer = np.rint(links.layer).astype(np.int64)
    columns = {
        "graph_id": np.full(len(links.source), graph.graph_id, object),
        "source": links.names[links.source],
        "target": links.names[links.target],
        "share": links.share,
        "signed": links.signed,
        "source_layer": layer[links.source],
        "target_layer": layer[links.target],
    }
    return pd.DataFrame(columns)


def link_tables(
    graphs: Iterable[AttributionGraph], by: By = "feature", kinds: Sequence[NodeKind] = tuple(NodeKind)
) -> pd.DataFrame:
    """The links of several graphs in one table.

    Raises:
        GraphFormatError: They are of different dictionaries, and are not aligned by label.
    """
    tables, source_sets = [], []
    for graph in graphs:
        source_sets.append(graph.metadata.source_set)
        check_aligned(source_sets, by)
        tables.append(link_table(graph, by, kinds))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(LINK_COLUMNS))


def check_aligned(source_sets: Iterable[str], by: By) -> None:
    """Refuse graphs of different dictionaries, unless names rest on labels alone."""
    check_dictionaries(source_sets, "label" if by in ("label", "supernode") else "feature")


def _member_of(graph: AttributionGraph) -> dict[str, str]:
    """Node id to the name of its supernode."""
    groups = graph.metadata.provenance.get("supernodes") or []
    return {str(member): str(group["label"]) for group in groups for member in group["members"]}
