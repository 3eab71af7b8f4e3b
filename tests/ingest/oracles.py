"""What every query of cypher/explore has to answer, from the graphs themselves by pandas and networkx, no database."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product
from math import prod
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from circuits.pattern import match, parse_pattern
from ingest.rows import ranks_in
from tracer.graph import AttributionGraph

Row = dict[str, Any]
Table = Any  # a pandas.DataFrame, whose type hints are unions that most operations on it do not fit
PLACE = ["source_set", "layer", "index"]
MOST_LINKS = 3  # between two texts of circuits_through
WORDS = re.compile(r"[\w ]*\w[\w ]*")
NONE = -99  # a layer or index that does not tell nodes apart


@dataclass(frozen=True, eq=False)
class World:
    """What is in the store: graphs in the order in which they came, and kept circuits."""

    graphs: Sequence[AttributionGraph]
    circuits: Sequence[Row] = ()
    """Their properties, as `GraphStore.keep_circuit` takes them."""

    @cached_property
    def pruned(self) -> dict[str, AttributionGraph]:
        """graph_id -> what the store has of it."""
        return {graph.graph_id: graph.pruned() for graph in self.graphs}

    @cached_property
    def about(self) -> dict[str, AttributionGraph]:
        """graph_id -> the whole graph."""
        return {graph.graph_id: graph for graph in self.graphs}

    @cached_property
    def nodes(self) -> Table:
        """The nodes of all graphs, with what is asked of their graph."""
        tables = (
            graph.nodes.assign(graph_id=key, source_set=graph.metadata.source_set) for key, graph in self.pruned.items()
        )
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def edges(self) -> Table:
        """The direct effects of all graphs; rank_in is over all edges of the whole graph."""
        return pd.concat([_edges(graph) for graph in self.graphs], ignore_index=True)

    @cached_property
    def features(self) -> Table:
        """The active features of all graphs."""
        return self.nodes[self.nodes["kind"] == "feature"]

    @cached_property
    def entries(self) -> Table:
        """By place: the first label that is not empty, and in how many graphs."""
        groups = self.features.groupby(PLACE)
        label = groups["label"].agg(lambda labels: next((each for each in labels if each), ""))
        return pd.DataFrame({"label": label, "graphs": groups["graph_id"].nunique()})

    @cached_property
    def ends(self) -> Table:
        """The direct effects with every column of both ends, `source_…` and `target_…`."""
        nodes = self.nodes.drop(columns="source_set")
        table = self.edges
        for end in ("source", "target"):
            named = nodes.add_prefix(f"{end}_").rename(columns={f"{end}_graph_id": "graph_id", f"{end}_node_id": end})
            table = table.merge(named, on=["graph_id", end])
        return table.merge(self.nodes[["graph_id", "source_set"]].drop_duplicates(), on="graph_id")

    @cached_property
    def links(self) -> Table:
        """Links of features over all graphs: graphs, edges and mean share of each."""
        both = self.ends[(self.ends["source_kind"] == "feature") & (self.ends["target_kind"] == "feature")]
        keys = ["source_set", "source_layer", "source_index", "target_layer", "target_index"]
        groups = both.groupby(keys)
        columns = {"graphs": groups["graph_id"].nunique(), "edges": groups.size(), "mean_share": groups["share"].mean()}
        return pd.DataFrame(columns).reset_index()

    @cached_property
    def nets(self) -> dict[str, Any]:
        """graph_id -> the pruned graph in networkx."""
        nets: dict[str, Any] = {}
        for graph_id, graph in self.pruned.items():
            nets[graph_id] = nx.DiGraph()
            nets[graph_id].add_nodes_from(graph.nodes["node_id"])
        columns = ["graph_id", "source", "target", "effect", "share"]
        for graph_id, source, target, effect, share in self.edges[columns].itertuples(index=False):
            nets[graph_id].add_edge(source, target, effect=effect, share=share)
        return nets

    def label_of(self, source_set: str, layer: int, index: int) -> str:
        """What an entry of a dictionary is thought to mean, or empty."""
        return self.entries["label"].get((source_set, layer, index), "")


def _edges(graph: AttributionGraph) -> Table:
    keep, ids, edges = graph.nodes["kept"].to_numpy(), graph.nodes["node_id"].to_numpy(object), graph.edges
    columns = {"source": ids[edges.source], "target": ids[edges.target], "effect": edges.effect.astype(float)}
    table: Table = pd.DataFrame(columns | {"share": edges.share.astype(float), "rank_in": ranks_in(graph)})
    table.insert(0, "graph_id", graph.graph_id)
    return table[edges.kept & keep[edges.source] & keep[edges.target]]


@dataclass(frozen=True)
class Oracle:
    """The independent answer of one query, and what to ask it with."""

    rows: Callable[..., Iterable[Row]]
    """(world, **parameters but $limit) -> every row, in any order; a value of None stands for one that is not known."""
    cases: Callable[[World], list[Row]]
    """Parameters that are worth asking with in this world."""
    key: tuple[str, ...]
    """The columns that tell rows apart."""
    order: Callable[[Row], Any] = lambda row: 0
    """What rows are sorted by."""
    open: tuple[str, ...] = ()
    """Columns for which more than one answer is right; `fits` looks at them."""
    fits: Callable[[World, Row, Row], bool] = field(default=lambda world, params, row: True)
    """Whether what stands in these columns is one of the right answers."""


# -- what to ask with


def once(world: World) -> list[Row]:
    return [{}]


def some_graphs(world: World) -> list[Row]:
    return [{"graph_id": key} for key in (*list(world.pruned)[:2], "no such graph")]


def some_nodes(world: World) -> list[Row]:
    """The nodes with the most and the fewest links of two graphs, and one that is not there."""
    cases = [{"graph_id": key, "node_id": "nothing"} for key in list(world.pruned)[:1]]
    for graph_id in list(world.pruned)[:2]:
        degree = dict(world.nets[graph_id].degree())
        ranked = sorted(degree, key=lambda node: (degree[node], node))
        cases += [{"graph_id": graph_id, "node_id": node} for node in {*ranked[:1], *ranked[-2:]}]
    return cases


def some_features(world: World) -> list[Row]:
    """The places that most and fewest graphs have, one in another dictionary, and one that is in none."""
    ranked = world.entries.sort_values("graphs", kind="stable").index.tolist()
    places = {*ranked[:1], *ranked[-2:], ("another set", *ranked[-1][1:]), ("set", 99, 0)} if ranked else set()
    return [dict(zip(PLACE, place, strict=True)) for place in sorted(places)]


def some_ends(world: World) -> list[Row]:
    """From the last tokens to the first outputs, with a threshold that leaves few enough paths to list."""
    cases = []
    for graph_id, graph in list(world.pruned.items())[:2]:
        tokens, outputs = (graph.nodes[graph.nodes["kind"] == kind]["node_id"] for kind in ("token", "logit"))
        shares = np.sort(graph.edges.share)[::-1]
        strong = float(shares[min(len(shares) - 1, 100)]) if len(shares) else 0.0  # few links, so few paths
        for source, target in product(tokens.tolist()[-2:], outputs.tolist()[:2]):
            cases.append({"graph_id": graph_id, "source": source, "target": target, "min_share": strong})
    return cases


def some_terms(world: World) -> list[Row]:
    """Texts along the strongest inputs of an output of each graph: whole texts, wildcards, places, choices."""
    cases = [["nowhere", "nothing"]]
    for graph_id in list(world.pruned)[::3]:
        walk = strongest_walk(world, graph_id)
        features = [f"{node['layer']}_{node['index']}" for node in walk if node["kind"] == "feature"]
        walk = [node for node in walk if WORDS.fullmatch(node["label"])]
        if len(walk) > 1:
            first, middle, last = (node["label"].strip() for node in (walk[0], walk[len(walk) // 2], walk[-1]))
            cases += [[first, last], [first.upper(), middle, f" {last} "], [first, f"nowhere|{middle}", f"*{last[1:]}"]]
            cases += [[middle, f"{last[:-1]}?"], [first, "*", last]]
            cases += [[first, place, last] for place in features[:1]]
    return [{"terms": terms, "min_share": share} for terms in cases for share in (0.001, 0.05)]


def strongest_walk(world: World, graph_id: str) -> list[Row]:
    """From the most influential output back along the strongest input that is no error; the first node comes first."""
    node_of = {row["node_id"]: row for row in records(world.nodes[world.nodes["graph_id"] == graph_id])}
    net, outputs = world.nets[graph_id], [row for row in node_of.values() if row["kind"] == "logit"]
    walk = sorted(outputs, key=lambda row: row["influence"])[-1:]
    while walk:
        into = [pair for pair in net.in_edges(walk[0]["node_id"]) if node_of[pair[0]]["kind"] != "error"]
        if not into:
            break
        walk.insert(0, node_of[max(into, key=lambda pair: net.edges[pair]["share"])[0]])
    return walk


def few_motifs(world: World) -> list[Row]:
    """Thresholds that leave few enough links to list all motifs."""
    return [{"min_graphs": n} for n in (1, 2) if (world.links["graphs"] >= n).sum() < 1000]


def on_circuits(world: World) -> list[Row]:
    """The places of the first features on the paths of kept circuits, and one that is on none."""
    steps = {
        step
        for circuit in world.circuits
        for step in zip(circuit["path_graph_ids"], circuit["path_node_ids"], strict=True)
    }
    table = world.features
    passes = [step in steps for step in table[["graph_id", "node_id"]].itertuples(index=False, name=None)]
    passed = table[np.array(passes, bool)]
    return [*records(passed[PLACE].drop_duplicates()[:3]), {"source_set": "set", "layer": 99, "index": 0}]


def shared(world: World) -> list[Row]:
    ids = list(world.pruned)
    return [{"graph_ids": ids[:n], "min_graphs": least} for n in (2, len(ids)) for least in (1, 2, len(ids))]


def words_of_labels(world: World) -> list[Row]:
    words = sorted({word for label in world.entries["label"] for word in label.split() if word.isalpha()})
    return [{"text": word.lower()} for word in (*words[:1], *words[-1:], "nowhere")]


# -- the answers


def graphs(world: World) -> Iterable[Row]:
    names = ["slug", "prompt", "model", "source_set", "origin", "complete", "target"]
    names += ["replacement_score", "completeness_score"]
    for key, graph in world.about.items():
        pruned = world.pruned[key]
        sizes = {"n_nodes": len(pruned.nodes), "n_edges": len(pruned.edges)}
        yield {"graph_id": key} | sizes | {name: getattr(graph.metadata, name) for name in names}


def graph_nodes(world: World, graph_id: str) -> Iterable[Row]:
    columns = ["node_id", "kind", "layer", "position", "index", "label", "label_note", "activation", "influence"]
    return records(world.nodes[world.nodes["graph_id"] == graph_id], [*columns, "probability", "remainder", "left_out"])


def influential_nodes(world: World, graph_id: str) -> Iterable[Row]:
    columns = ["node_id", "kind", "layer", "position", "label", "influence", "activation"]
    return records(world.nodes[world.nodes["graph_id"] == graph_id], columns)


def graph_edges(world: World, graph_id: str) -> Iterable[Row]:
    return records(world.edges[world.edges["graph_id"] == graph_id], ["source", "target", "effect", "share"])


def neighbours(end: str, other: str) -> Callable[..., Iterable[Row]]:
    def rows(world: World, graph_id: str, node_id: str) -> Iterable[Row]:
        table = world.ends[(world.ends["graph_id"] == graph_id) & (world.ends[end] == node_id)]
        table = table.rename(columns={other: "node_id", f"{other}_kind": "kind", f"{other}_label": "label"})
        return records(table, ["node_id", "kind", "label", "effect", "share", "rank_in"])

    return rows


def strongest_paths(world: World, graph_id: str, source: str, target: str, min_share: float) -> Iterable[Row]:
    net = world.nets[graph_id]
    strong = net.edge_subgraph([pair for pair in net.edges if net.edges[pair]["share"] >= min_share])
    for path in nx.all_simple_paths(strong, source, target, cutoff=6) if {source, target} <= set(strong) else []:
        yield path_row(world, graph_id, path)


def path_row(world: World, graph_id: str, path: list[str]) -> Row:
    net, label = world.nets[graph_id], world.pruned[graph_id].nodes.set_index("node_id")["label"]
    shares, effects = ([net.edges[pair][name] for pair in pairwise(path)] for name in ("share", "effect"))
    labels = label[path].tolist()
    return {"strength": prod(shares), "node_ids": path, "labels": labels, "effects": effects, "shares": shares}


def groups_of(world: World, graph_id: str, terms: list[str]) -> list[set[int]]:
    """The rows of the nodes that each text names, as patterns tell them; at the ends tokens and outputs come first."""
    graph, groups = world.pruned[graph_id], []
    for text in terms:
        named = (match(parse_pattern(f"* -> {term} -> *"), graph)[1].tolist() for term in text.split("|"))
        groups.append({row for rows in named for row in rows})
    for place, kind in ((0, "token"), (-1, "logit")):
        own = set(np.flatnonzero(graph.nodes["kind"] == kind).tolist())
        groups[place] = groups[place] & own or groups[place]
    return groups


def circuits_through(world: World, terms: list[str], min_share: float) -> Iterable[Row]:
    for graph_id, graph in world.pruned.items():
        groups = [sorted(group) for group in groups_of(world, graph_id, terms)]
        strength = best_of_all_ways(graph, groups, min_share)
        if strength > 0:
            about = graph.metadata
            yield {"graph_id": graph_id, "slug": about.slug, "prompt": about.prompt, "strength": strength}


def best_of_all_ways(graph: AttributionGraph, groups: list[list[int]], min_share: float) -> float:
    """The largest product of shares along a path through the groups in order, link after link in a full matrix."""
    n, edges = len(graph.nodes), graph.edges
    strong = edges.share.astype(float) >= min_share
    share_NN = np.zeros((n, n))
    share_NN[edges.target[strong], edges.source[strong]] = edges.share[strong]
    best_N = np.zeros(n)
    best_N[groups[0]] = 1
    for group in groups[1:]:
        reached_N, best_of_group_N = best_N, np.zeros(n)
        for _ in range(MOST_LINKS):
            reached_N = (share_NN * reached_N).max(axis=1, initial=0)
            best_of_group_N[group] = np.maximum(best_of_group_N[group], reached_N[group])
        best_N = best_of_group_N
    return float(best_N.max(initial=0))


def path_is_right(world: World, params: Row, row: Row) -> bool:
    """It is a path of the graph, as strong as the row says, with links that are strong enough, through all texts."""
    path, graph = row["node_ids"], world.pruned[row["graph_id"]]
    expected = path_row(world, row["graph_id"], path)
    row_of = {node: at for at, node in enumerate(graph.nodes["node_id"])}
    groups = groups_of(world, row["graph_id"], params["terms"])
    at_of = {0} if row_of[path[0]] in groups[0] else set()
    for group in groups[1:]:  # places on the path where it can have met the texts up to this one
        ahead = {at + n for at in at_of for n in range(1, MOST_LINKS + 1) if at + n < len(path)}
        at_of = {at for at in ahead if row_of[path[at]] in group}
    same = all(close(row[name], expected[name]) for name in ("labels", "effects", "shares", "strength"))
    return same and min(row["shares"]) >= params["min_share"] and len(path) - 1 in at_of


def graphs_with(world: World, term: str) -> Iterable[Row]:
    """Those with the first piece of the text, and for one that looks like a place those of this feature."""
    nodes = world.nodes
    found = np.zeros(len(nodes), bool)
    for each in (text.strip().lower() for text in term.split("|")):
        piece = next((piece for piece in each.replace("?", "*").split("*") if piece), "")
        found |= nodes["label"].map(lambda label, piece=piece: piece in plain(label)).to_numpy(bool)
        place = nodes["layer"].astype(str) + "_" + nodes["index"].astype(str)
        found |= ((place == each) & (nodes["kind"] == "feature")).to_numpy()
    for graph_id, group in nodes[found].groupby("graph_id"):
        yield {"graph_id": graph_id, "nodes": len(group)}


def plain(label: str) -> str:
    return " ".join(label.split()).lower()


def common_features(world: World, min_graphs: int) -> Iterable[Row]:
    return records(world.entries[world.entries["graphs"] >= min_graphs].reset_index(), [*PLACE, "label", "graphs"])


def features_at(world: World, layer: int, index: int) -> Iterable[Row]:
    entries = world.entries.reset_index()
    here = (entries["layer"] == layer) & (entries["index"] == index)
    return records(entries[here], [*PLACE, "label", "graphs"])


def labels_search(world: World, text: str) -> Iterable[Row]:
    entries = world.entries.reset_index()
    found = entries["label"].str.contains(rf"(?<!\w){text}(?!\w)", case=False)
    return [row | {"score": None} for row in records(entries[found], [*PLACE, "label", "graphs"])]


def occurrences(world: World, source_set: str, layer: int, index: int) -> Table:
    table = world.features
    return table[(table["source_set"] == source_set) & (table["layer"] == layer) & (table["index"] == index)]


def feature_occurrences(world: World, **place: Any) -> Iterable[Row]:
    for row in records(occurrences(world, **place)):
        about = world.about[row["graph_id"]].metadata
        names = ("graph_id", "node_id", "position", "activation", "influence", "label")
        own = {"slug": about.slug, "prompt": about.prompt, "token": about.tokens[row["position"]]}
        yield {name: row[name] for name in names} | own


def feature_prompts(world: World, **place: Any) -> Iterable[Row]:
    for graph_id, group in occurrences(world, **place).groupby("graph_id"):
        about = world.about[graph_id].metadata
        group = group.sort_values(["influence", "node_id"], ascending=[False, True])
        yield {
            "graph_id": graph_id, "slug": about.slug, "prompt": about.prompt, "tokens": list(about.tokens),
            "node_ids": group["node_id"].tolist(), "positions": group["position"].tolist(),
            "activations": group["activation"].tolist(), "influences": group["influence"].tolist(),
            "influence": group["influence"].sum(), "label": group["label"].iloc[0],
            "label_note": group["label_note"].iloc[0],
        }  # fmt: skip


def shared_features(world: World, graph_ids: list[str], min_graphs: int) -> Iterable[Row]:
    chosen = world.features[world.features["graph_id"].isin(graph_ids)]
    for place, group in chosen.groupby(PLACE):
        ids = sorted(set(group["graph_id"]))
        if len(ids) >= min_graphs:
            named = dict(zip(PLACE, place, strict=True)) | {"label": world.label_of(*place)}  # pyright: ignore[reportArgumentType]
            yield named | {"graphs": len(ids), "graph_ids": ids, "influence": group["influence"].max()}


def feature_inputs(world: World, **place: Any) -> Iterable[Row]:
    return around(world, "target", "source", place, None)


def feature_outputs(world: World, kinds: list[str], **place: Any) -> Iterable[Row]:
    return around(world, "source", "target", place, kinds)


def around(world: World, end: str, other: str, place: Row, kinds: list[str] | None) -> Iterable[Row]:
    """What the occurrences of a feature have at the other end of their links, by name, averaged over its graphs."""
    own = occurrences(world, **place)
    links = world.ends.merge(own[["graph_id", "node_id"]], left_on=["graph_id", end], right_on=["graph_id", "node_id"])
    if kinds is not None:
        links = links[links[f"{other}_kind"].isin(kinds)]
    kind = links[f"{other}_kind"]
    by_layer = kind.isin(["feature", "error"] if other == "source" else ["feature"])
    links = links.assign(
        kind=kind,
        layer=links[f"{other}_layer"].where(by_layer, NONE),
        index=links[f"{other}_index"].where(kind == "feature", NONE),
        text=links[f"{other}_label"].str.strip().where(~by_layer, ""),
        signed=links["share"] * np.sign(links["effect"]),
    )
    times = own.groupby("graph_id").size()
    for (kind, layer, index, text), group in links.groupby(["kind", "layer", "index", "text"]):
        per_graph = group.groupby("graph_id")
        n = times[list(per_graph.groups)] if end == "target" else per_graph["target"].nunique()
        share, effect = per_graph["signed"].sum() / n, per_graph["effect"].sum() / n
        yield {
            "kind": kind, "layer": None if layer == NONE else layer, "index": None if index == NONE else index,
            "label": world.label_of(place["source_set"], layer, index) if kind == "feature" else text,
            "graphs": len(share), "edges": len(group), "mean_share": share.sum() / own["graph_id"].nunique(),
            "least_share": share.min(), "most_share": share.max(), "mean_effect": effect.mean(),
        }  # fmt: skip


def reused_edges(world: World, min_graphs: int) -> Iterable[Row]:
    for row in records(world.links[world.links["graphs"] >= min_graphs]):
        for end in ("source", "target"):
            row[f"{end}_label"] = world.label_of(row["source_set"], row[f"{end}_layer"], row[f"{end}_index"])
        yield row


def three_node_motifs(world: World, min_graphs: int) -> Iterable[Row]:
    net = nx.DiGraph()
    for row in records(world.links[world.links["graphs"] >= min_graphs]):
        ends = [(row["source_set"], row[f"{end}_layer"], row[f"{end}_index"]) for end in ("source", "target")]
        net.add_edge(*ends, graphs=row["graphs"], share=row["mean_share"])
    for first, third in net.edges:
        for second in set(net.successors(first)) & set(net.predecessors(third)):
            into, out, direct = (net.edges[pair] for pair in ((first, second), (second, third), (first, third)))
            row = {"source_set": first[0], "graphs": min(link["graphs"] for link in (into, out, direct))}
            for name, place in (("first", first), ("second", second), ("third", third)):
                row |= {f"{name}_layer": place[1], f"{name}_index": place[2], f"{name}_label": world.label_of(*place)}
            yield row | {"through_share": into["share"] * out["share"], "direct_share": direct["share"]}


def supernodes(world: World, graph_id: str) -> Iterable[Row]:
    for key, graph in world.about.items():
        if not graph_id or key == graph_id:
            for group in graph.metadata.provenance.get("supernodes") or []:
                known = [node for node in graph.nodes["node_id"] if node in set(group["members"])]
                promote, same_sign = criteria(graph, known)
                seen = [value for value in (promote, same_sign) if value is not None]
                yield {
                    "graph_id": key, "slug": graph.metadata.slug, "name": group["label"], "size": len(known),
                    "score": float(np.mean(seen)) if seen else None, "promote": promote, "same_sign": same_sign,
                    "members": known,
                    "method": group.get("method", "in the file of the graph"), "by": group.get("by", ""),
                }  # fmt: skip


def criteria(graph: AttributionGraph, members: list[str]) -> tuple[float | None, float | None]:
    """(part of the effects between members that is positive, part of those on others left when signs cancel)."""
    ids, edges = graph.nodes["node_id"].to_numpy(object), graph.edges
    table: Table = pd.DataFrame({"source": ids[edges.source], "target": ids[edges.target]})
    table["weight"] = edges.share.astype(float) * np.sign(edges.effect)
    own = table[table["source"].isin(members)]
    within, out = own[own["target"].isin(members)]["weight"], own[~own["target"].isin(members)]
    several = out[out.groupby("target")["weight"].transform("size") > 1]
    net, size = several.groupby("target")["weight"].sum().abs().sum(), several["weight"].abs().sum()
    promote = within.clip(lower=0).sum() / within.abs().sum() if len(within) else None
    return promote, net / size if len(several) else None


def kept_circuits(world: World) -> Iterable[Row]:
    for circuit in world.circuits:
        names = ("kept_id", "name", "pattern", "n", "mean", "spread", "made_at", "made_with", "note")
        gone = len(set(circuit["graph_ids"]) - set(world.about))
        yield {name: circuit[name] for name in names} | {"found": circuit["n_found"], "gone": gone}


def kept_circuit_graphs(world: World, kept_id: str) -> Iterable[Row]:
    for circuit in (each for each in world.circuits if each["kept_id"] == kept_id):
        for at, graph_id in enumerate(circuit["graph_ids"]):
            graph = world.pruned.get(graph_id)
            stored = set(graph.nodes["node_id"]) if graph else set()
            columns = (circuit[f"path_{name}"] for name in ("rows", "node_ids"))
            path = [node for row, node in zip(*columns, strict=True) if row == at and node in stored]
            about = {name: getattr(graph.metadata, name) if graph else None for name in ("slug", "prompt")}
            yield about | {
                "graph_id": graph_id, "loaded": graph is not None, "flow": circuit["flows"][at],
                "found": circuit["found_in"][at], "failed": circuit["failed"][at], "path": path,
            }  # fmt: skip


def feature_circuits(world: World, **place: Any) -> Iterable[Row]:
    own = set(occurrences(world, **place)[["graph_id", "node_id"]].itertuples(index=False, name=None))
    for circuit in world.circuits:
        steps = zip(*(circuit[f"path_{name}"] for name in ("rows", "graph_ids", "node_ids")), strict=True)
        prompts = {row for row, *node in steps if tuple(node) in own}
        if prompts:
            about = {name: circuit[name] for name in ("kept_id", "name", "pattern", "note")}
            yield about | {"prompts": len(prompts), "found": circuit["n_found"]}


def records(table: Table, columns: list[str] | None = None) -> list[Row]:
    """Rows as plain Python; NaN is None."""
    names = list(table.columns) if columns is None else columns
    return [
        {name: None if value != value else value for name, value in zip(names, values, strict=True)}
        for values in zip(*(table[name].tolist() for name in names), strict=True)
    ]


def by(*names: str) -> Callable[[Row], Any]:
    """Sorted by these columns; `-` before a name turns it round."""
    return lambda row: tuple(-row[name[1:]] if name.startswith("-") else row[name] for name in names)


PLACED = ("source_set", "layer", "index")
LINK = ("source_set", "source_layer", "source_index", "target_layer", "target_index")
MOTIF = ("source_set", *(f"{end}_{name}" for end in ("first", "second", "third") for name in ("layer", "index")))
NAMED = ("kind", "layer", "index", "label")

ORACLES = {
    "graphs": Oracle(graphs, once, ("graph_id",), by("slug", "graph_id"), ("ingested_at",)),
    "graph_nodes": Oracle(graph_nodes, some_graphs, ("node_id",), by("layer", "position", "index", "node_id")),
    "graph_edges": Oracle(graph_edges, some_graphs, ("source", "target")),
    "influential_nodes": Oracle(influential_nodes, some_graphs, ("node_id",), by("-influence", "node_id")),
    "strongest_sources": Oracle(neighbours("target", "source"), some_nodes, ("node_id",), by("rank_in", "node_id")),
    "strongest_targets": Oracle(neighbours("source", "target"), some_nodes, ("node_id",), by("-share", "node_id")),
    "strongest_paths": Oracle(strongest_paths, some_ends, ("node_ids",), by("-strength", "node_ids")),
    "circuits_through": Oracle(
        circuits_through, some_terms, ("graph_id",), by("-strength", "graph_id"),
        ("node_ids", "labels", "effects", "shares"), path_is_right,
    ),
    "graphs_with": Oracle(
        graphs_with,
        lambda world: [{"term": term} for case in some_terms(world) for term in case["terms"]] + [{"term": "?"}],
        ("graph_id",), by("graph_id"),
    ),
    "common_features": Oracle(
        common_features, lambda world: [{"min_graphs": n} for n in (1, 2, 3)], PLACED, by("-graphs", *PLACED)
    ),
    "features_at": Oracle(
        features_at,
        lambda world: [{name: case[name] for name in ("layer", "index")} for case in some_features(world)],
        ("source_set",), by("-graphs", "source_set"),
    ),
    "labels_search": Oracle(labels_search, words_of_labels, PLACED, by("-score", "-graphs", *PLACED), ("score",)),
    "feature_occurrences": Oracle(
        feature_occurrences, some_features, ("graph_id", "node_id"), by("-influence", "graph_id", "node_id")
    ),
    "feature_prompts": Oracle(feature_prompts, some_features, ("graph_id",), by("-influence", "graph_id")),
    "feature_inputs": Oracle(feature_inputs, some_features, NAMED, lambda row: -abs(row["mean_share"])),
    "feature_outputs": Oracle(
        feature_outputs,
        lambda world: [
            case | {"kinds": kinds} for case in some_features(world) for kinds in (["logit"], ["feature", "logit"])
        ],
        NAMED, lambda row: -abs(row["mean_share"]),
    ),
    "shared_features": Oracle(shared_features, shared, PLACED, by("-graphs", "-influence", *PLACED)),
    "reused_edges": Oracle(
        reused_edges, lambda world: [{"min_graphs": n} for n in (1, 2)], LINK, by("-graphs", "-mean_share", *LINK)
    ),
    "three_node_motifs": Oracle(
        three_node_motifs, few_motifs, MOTIF, by("-graphs", "-through_share", *MOTIF)
    ),
    "supernodes": Oracle(
        supernodes, lambda world: [{"graph_id": key} for key in ("", *list(world.about)[:1])], ("graph_id", "name"),
        by("slug", "graph_id", "name"),
    ),
    "kept_circuits": Oracle(kept_circuits, once, ("kept_id",), lambda row: [-ord(letter) for letter in row["made_at"]]),
    "feature_circuits": Oracle(feature_circuits, on_circuits, ("kept_id",), by("-prompts", "name", "kept_id")),
    "kept_circuit_graphs": Oracle(
        kept_circuit_graphs, lambda world: [{"kept_id": key} for key in ("x", *(c["kept_id"] for c in world.circuits))],
        ("graph_id",), by("-flow", "graph_id"),
    ),
}  # fmt: skip


def close(seen: Any, expected: Any) -> bool:
    """Whether two values are the same but for rounding; NaN is itself."""
    if isinstance(expected, list | tuple):
        return len(seen) == len(expected) and all(close(*pair) for pair in zip(seen, expected, strict=True))
    if isinstance(expected, float | np.floating) and isinstance(seen, float):
        return bool(np.isclose(seen, expected, rtol=1e-6, atol=2e-9, equal_nan=True))  # shares are summed in billionths
    return seen == expected
