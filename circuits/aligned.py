"""Names under which nodes of different graphs are the same, and graphs as tables of these names.

    feature     20/15589      an entry of the dictionary, at whatever position
    label       Texas         what features are thought to mean; those without a label are left out
    position    20/15589@9    a feature at its position; `position-from-end`: 20/15589@-2, counted from the last token
    supernode   capitals      the groups that a graph brings along; features outside them are left out

Tokens and outputs go by their text everywhere, errors by their layer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from circuits.promptset import check_dictionaries
from tracer.errors import SettingError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

By = Literal["feature", "label", "position", "position-from-end", "supernode"]

LINK_COLUMNS = ("graph_id", "source", "target", "share", "signed", "source_layer", "target_layer")


def names_of(graph: AttributionGraph, by: By = "feature") -> np.ndarray:
    """(N,) the name of each node, empty where it has none; see the head of this module."""
    if by not in get_args(By):
        raise SettingError(f"nodes cannot be aligned by {by!r}; expected one of {', '.join(get_args(By))}. Use one.")
    nodes = graph.nodes
    kind_N, label_N = nodes["kind"].to_numpy(object), nodes["label"].to_numpy(object)
    columns = (nodes[name].to_numpy() for name in ("layer", "index", "position"))
    member_of = _member_of(graph) if by == "supernode" else {}
    n_tokens = len(graph.metadata.tokens)
    names = np.full(len(nodes), "", object)
    for row, (layer, index, position) in enumerate(zip(*columns, strict=True)):
        match kind_N[row]:
            case NodeKind.TOKEN:
                names[row] = f"token {label_N[row].strip()}"
            case NodeKind.LOGIT:
                names[row] = f"output {label_N[row].strip()}"
            case NodeKind.ERROR:
                names[row] = f"error L{layer}"
            case NodeKind.FEATURE if by == "label":
                names[row] = " ".join(label_N[row].split())
            case NodeKind.FEATURE if by == "supernode":
                names[row] = member_of.get(str(nodes["node_id"].iat[row]), "")
            case NodeKind.FEATURE:
                names[row] = f"{layer}/{index}"
            case _:
                names[row] = label_N[row] or "bias"
        if by == "position" and position >= 0:
            names[row] += f"@{position}"
        elif by == "position-from-end" and position >= 0:
            names[row] += f"@{position - n_tokens}"
    return names


def influence_of(
    graph: AttributionGraph, by: By = "feature", kinds: Sequence[NodeKind] = tuple(NodeKind)
) -> tuple[np.ndarray, np.ndarray]:
    """(every name of these kinds of nodes, the influence of its nodes together)."""
    names_N = names_of(graph, by)
    used_N = (names_N != "") & graph.nodes["kind"].isin([str(kind) for kind in kinds]).to_numpy()
    code, names = pd.factorize(names_N[used_N])
    return np.asarray(names), np.bincount(code, graph.nodes["influence"].to_numpy(np.float64)[used_N], len(names))


@dataclass(frozen=True, eq=False)
class Links:
    """The links between the names of one graph, one entry a pair."""

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


def links_of(graph: AttributionGraph, by: By = "feature", kinds: Sequence[NodeKind] = tuple(NodeKind)) -> Links:
    """The links between the names of a graph, of these kinds of nodes."""
    nodes, edges = graph.nodes, graph.edges
    names_N = names_of(graph, by)
    used_N = (names_N != "") & nodes["kind"].isin([str(kind) for kind in kinds]).to_numpy()
    code_N, names = pd.factorize(names_N)
    n = len(names)
    weight_N = nodes["influence"].to_numpy(np.float64) + 1e-12  # those of no influence count alike among themselves
    weight_N = weight_N / np.bincount(code_N, np.where(used_N, weight_N, 0.0), n)[code_N].clip(1e-30)
    chosen = np.flatnonzero(used_N[edges.source] & used_N[edges.target])
    source, target = edges.source[chosen], edges.target[chosen]
    pair, row = np.unique(code_N[source] * n + code_N[target], return_inverse=True)
    share = edges.share[chosen] * weight_N[target]
    a, b = np.divmod(pair, max(n, 1))
    layer = np.bincount(code_N, nodes["layer"].to_numpy(np.float64), n) / np.bincount(code_N, minlength=n).clip(1)
    signed = share * np.sign(edges.effect[chosen])
    return Links(
        np.asarray(names), layer, a, b, np.bincount(row, share, len(pair)), np.bincount(row, signed, len(pair))
    )


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
