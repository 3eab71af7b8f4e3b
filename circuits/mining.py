"""Mining: the circuits of 3 to 6 nodes that recur in many graphs, and how many of them chance would give.

A circuit here is a path of names (see `circuits.aligned`). Its strength in one graph is the product of the shares of
its links there, zero where one is missing; it has support in the graphs where that is at least `min_strength`. Both
only fall when a path grows, so paths grow link by link, and those without support are dropped for good.

What chance gives is counted by mining tables whose links are dealt anew: a circuit is to be believed as far as dealt
tables hold fewer as strong ones (`q`), since the strongest of many paths looks strong by selection alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from tracer.errors import GraphFormatError, SettingError

N_DEALT = 5  # tables dealt anew; together they hold about as many chance circuits as q needs
CHUNK = 50_000  # paths grown at once, likewise


@dataclass(frozen=True)
class MiningConfig:
    """What counts as a circuit that recurs."""

    min_size: int = 3
    """Nodes that a circuit has at least."""
    max_size: int = 6
    """Nodes that a circuit has at most."""
    min_support: float = 0.2
    """Share of the graphs that have it; below two graphs nothing recurs."""
    min_strength: float = 1e-3
    """Product of its shares from which on a graph has it."""
    limit: int = 20
    """Circuits reported of each size, those of the largest mean strength."""
    beam: int = 20_000
    """Paths of one length kept to grow on: bounds memory. No circuit stronger than those left out is lost."""
    dealt: int = N_DEALT
    """Tables dealt anew to count what chance gives; 0: none."""
    seed: int = 0
    """Of the dealing."""

    def __post_init__(self) -> None:
        if not 2 <= self.min_size <= self.max_size <= 12:
            raise SettingError(
                f"sizes from {self.min_size} to {self.max_size} nodes; expected from 2 to 12, the smaller first. "
                "Change them."
            )
        for name in ("min_support", "min_strength"):
            if not 0 < getattr(self, name) <= 1:
                raise SettingError(f"{name} is {getattr(self, name)}; expected above 0, at most 1. Change it.")


@dataclass(frozen=True, eq=False)
class Mined:
    """A circuit that recurs."""

    names: tuple[str, ...]
    """Its nodes, in the direction of the links."""
    graphs: tuple[str, ...]
    """graph_id of every graph looked at."""
    strength: np.ndarray
    """Product of its shares in each of them."""
    shares: tuple[float, ...]
    """Mean share of each link over the graphs that have the circuit."""
    support: int
    """Graphs that have it."""
    expected: float = float("nan")
    """Mean strength of the same path in dealt tables."""
    q: float = float("nan")
    """Expected share of chance circuits among those of its size that are at least as strong."""

    @property
    def mean(self) -> float:
        """Mean strength over all graphs."""
        return float(self.strength.mean())

    @property
    def lift(self) -> float:
        """Mean strength over what chance gives; infinite where that is nothing."""
        return self.mean / self.expected if self.expected else float("inf")

    def as_row(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "circuit": " -> ".join(self.names),
            "size": len(self.names),
            "support": self.support,
            "graphs": len(self.graphs),
            "mean_strength": self.mean,
            "shares": list(self.shares),
            "lift": self.lift,
            "q": self.q,
        }


def mine(links: pd.DataFrame, config: MiningConfig | None = None) -> list[Mined]:
    """The strongest recurring circuits of each size, smaller ones first.

    Args:
        links: One row a link of a graph: graph_id, source, target, share; for chance also source_layer and
            target_layer. `circuits.aligned.link_tables` makes it, and so can a query of the database.

    Raises:
        GraphFormatError: A column is missing, or there are fewer than two graphs.

    >>> rows = [(graph, *link) for graph in "ab" for link in (("x", "y", 0.5), ("y", "z", 0.5))]
    >>> found = mine(pd.DataFrame(rows, columns=["graph_id", "source", "target", "share"]), MiningConfig(dealt=0))
    >>> [(circuit.names, circuit.support, circuit.mean) for circuit in found]
    [(('x', 'y', 'z'), 2, 0.25)]
    """
    return Mining(links, config).run().found


class Mining:
    """Mining that goes on step by step, one dealt table each: what it has found can be read at any time."""

    def __init__(self, links: pd.DataFrame, config: MiningConfig | None = None):
        """See `mine`; the circuits are found at once, what chance gives is counted by the steps."""
        self._links, self.config = links, config or MiningConfig()
        self._table = Table.of(links)
        self._strong = strongest(self._table, self.config)
        self._random = np.random.default_rng(self.config.seed)
        self._sums = np.zeros(len(self._strong))
        self._by_chance: dict[int, list[float]] = {}
        self.dealt = 0
        """Tables dealt so far."""
        if not self.complete and not {"source_layer", "target_layer"} <= set(links):
            raise GraphFormatError(
                "the table of links lacks source_layer or target_layer, by which chance deals links anew; expected "
                "both. Add them, or set dealt to 0."
            )

    @property
    def complete(self) -> bool:
        """Whether chance was counted in as many tables as the settings say."""
        return not self._strong or self.dealt == self.config.dealt

    @property
    def found(self) -> list[Mined]:
        """The circuits, with what the tables dealt so far say of them."""
        if not self.dealt:
            return list(self._strong)
        q_of = _q_by_size(self._strong, self._by_chance, self.dealt)
        return [
            replace(circuit, expected=float(total / self.dealt), q=q)
            for circuit, total, q in zip(self._strong, self._sums, q_of, strict=True)
        ]

    def step(self) -> bool:
        """Count in one more dealt table; False where all were."""
        if not self.complete:
            dealt = Table.of(deal(self._links, self._random), self._table.graphs)
            sums = self._sums + [mean_strength(dealt, circuit.names) for circuit in self._strong]
            by_chance = [(len(circuit.names), circuit.mean) for circuit in strongest(dealt, self.config)]
            for size, mean in by_chance:
                self._by_chance.setdefault(size, []).append(mean)
            self._sums, self.dealt = sums, self.dealt + 1
        return not self.complete

    def run(self, progress: Callable[[int, int, str], None] | None = None) -> "Mining":
        """Count in all that are left."""
        more = not self.complete
        while more:
            more = self.step()
            if progress:
                progress(self.dealt, self.config.dealt, "counting what chance gives")
        return self


def deal(links: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """The links with their sources dealt anew within each graph, among the links between the same two layers.

    What each target gets, and how many links each source has, stays; which source sends which is chance. Links that
    come to have the same ends are added up.
    """
    keys = links.groupby(["graph_id", "source_layer", "target_layer"], sort=False).ngroup().to_numpy()
    order = np.lexsort((random.random(len(links)), keys))
    dealt = links.copy()
    source = links["source"].to_numpy()
    dealt_source = np.empty_like(source)
    dealt_source[np.argsort(keys, kind="stable")] = source[order]
    dealt["source"] = dealt_source
    columns = ["graph_id", "source", "target", "source_layer", "target_layer"]
    return dealt.groupby(columns, sort=False).agg({"share": "sum"}).reset_index()


@dataclass(frozen=True)
class Owed:
    """What a circuit's strength goes with."""

    label: str
    """The label under which it is strongest."""
    lift: float
    """Its mean strength there over that under other labels."""
    p: float
    """Of so large a difference between labels by chance."""


def owed_to(found: Sequence[Mined], label_G: Sequence[str], strata_G: Sequence[str], draws: int = 199, seed: int = 0):
    """For each circuit, the label it goes with: permutation test of its largest mean, labels dealt within strata.

    With entities as labels and templates as strata it tells circuits of a fact from those of the wording: the null is
    the same template with other entities. The other way round the null is the same entity in other templates.

    Args:
        label_G: One for each graph, in the order of `Mined.graphs`.
        strata_G: Labels are exchanged only where these are equal.
    """
    if not found:
        return []
    strength_CG = np.stack([circuit.strength for circuit in found])
    names, code_G = np.unique(np.asarray(label_G), return_inverse=True)
    places = [np.flatnonzero(np.asarray(strata_G) == stratum) for stratum in np.unique(np.asarray(strata_G))]
    random = np.random.default_rng(seed)

    def means(code: np.ndarray) -> np.ndarray:
        member_GK = (code[:, None] == np.arange(len(names))).astype(float)
        return strength_CG @ (member_GK / member_GK.sum(axis=0).clip(1))

    seen_CK = means(code_G)
    best_C = seen_CK.argmax(axis=1)
    as_large_C = np.ones(len(found))
    for _ in range(draws):
        dealt = code_G.copy()
        for place in places:
            dealt[place] = random.permutation(code_G[place])
        as_large_C += means(dealt).max(axis=1) >= seen_CK.max(axis=1) * (1 - 1e-9)  # sums in another order
    result = []
    for circuit, row in enumerate(strength_CG):
        inside = code_G == best_C[circuit]
        outside = float(row[~inside].mean()) if (~inside).any() else 0.0
        lift = float(row[inside].mean()) / outside if outside else float("inf")
        result.append(Owed(str(names[best_C[circuit]]), lift, float(as_large_C[circuit] / (draws + 1))))
    return result


@dataclass(frozen=True, eq=False)
class Table:
    """Links that some graph has, each with its share in every graph, grouped by source."""

    graphs: list[str]
    names: np.ndarray
    source: np.ndarray
    target: np.ndarray
    share: np.ndarray
    """(L, G) float32."""
    start: np.ndarray
    """(names + 1,) where the links from each name start."""

    @classmethod
    def of(cls, links: pd.DataFrame, graphs: Sequence[str] | None = None) -> "Table":
        missing = [name for name in ("graph_id", "source", "target", "share") if name not in links]
        if missing:
            raise GraphFormatError(
                f"the table of links lacks {', '.join(missing)}; expected graph_id, source, target and share. Add them."
            )
        graph_code, there = pd.factorize(links["graph_id"], sort=True)
        if graphs is not None:  # dealt: the same graphs in the same order, and none is ever lost
            there = pd.Index(graphs)
            graph_code = there.get_indexer(pd.Index(links["graph_id"].to_numpy()))
        if len(there) < 2:
            raise GraphFormatError(
                f"{len(there)} graphs have links; expected at least two, or nothing can recur. Add some."
            )
        ends, names = pd.factorize(np.concatenate([links["source"].to_numpy(), links["target"].to_numpy()]))
        source, target = np.split(ends.astype(np.int64), 2)
        graphs = [str(graph) for graph in there]
        return cls.of_codes(graphs, np.asarray(names, object), graph_code, source, target, links["share"].to_numpy())

    @classmethod
    def of_codes(
        cls,
        graphs: list[str],
        names: np.ndarray,
        graph: np.ndarray,
        source: np.ndarray,
        target: np.ndarray,
        share: np.ndarray,
    ) -> "Table":
        """The table of links given by place in `graphs` and `names`; those of the same ends in a graph add up."""
        pair, row = np.unique(source * len(names) + target, return_inverse=True)
        place = row * len(graphs) + graph
        share_LG = np.bincount(place, share, len(pair) * len(graphs)).astype(np.float32).reshape(-1, len(graphs))
        return cls.of_pairs(graphs, names, *np.divmod(pair, max(len(names), 1)), share_LG)

    @classmethod
    def of_pairs(
        cls, graphs: list[str], names: np.ndarray, source: np.ndarray, target: np.ndarray, share_LG: np.ndarray
    ) -> "Table":
        """The table of links each of which stands once, by source, then by target."""
        start = np.searchsorted(source, np.arange(len(names) + 1))
        return cls(graphs, names, source, target, np.ascontiguousarray(share_LG), start)


def strongest(table: Table, config: MiningConfig, least: int | None = None) -> list[Mined]:
    """The strongest circuits of each size that at least so many graphs have, by default as the settings say."""
    least = least or max(2, int(np.ceil(config.min_support * len(table.graphs))))
    strong = _support(table.share, config.min_strength) >= least
    path, strength = np.stack([table.source[strong], table.target[strong]], axis=1), table.share[strong]
    best, useful = _largest(strength, config.beam), np.flatnonzero(strong)
    path, strength = path[best], strength[best]
    found: list[Mined] = []
    for size in range(2, config.max_size + 1):
        if size > 2:
            path, strength = _grown(table, useful, path, strength, least, config)
        if size >= config.min_size:
            top = range(min(config.limit, len(path)))
            found += [_mined(table, path[place], strength[place], config.min_strength) for place in top]
    return found


def _grown(
    table: Table, useful: np.ndarray, path: np.ndarray, strength: np.ndarray, least: int, config: MiningConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The strongest paths with one more link at their end that still have the support."""
    first = np.searchsorted(table.source[useful], path[:, -1])
    count = np.searchsorted(table.source[useful], path[:, -1], side="right") - first
    old = np.repeat(np.arange(len(path)), count)
    link = useful[np.repeat(first, count) + np.arange(len(old)) - np.repeat(np.cumsum(count) - count, count)]
    parents, links, strengths = [old[:0]], [link[:0]], [strength[:0]]
    for begin in range(0, len(old), CHUNK):
        these, those = old[begin : begin + CHUNK], link[begin : begin + CHUNK]
        longer = strength.take(these, axis=0) * table.share.take(those, axis=0)
        kept = _support(longer, config.min_strength) >= least
        for step in path.T:
            kept &= step[these] != table.target[those]  # a name that feeds itself is no step
        parents.append(these[kept])
        links.append(those[kept])
        strengths.append(longer[kept])
    longer = np.concatenate(strengths)
    best = _largest(longer, config.beam)
    parent, target = np.concatenate(parents)[best], table.target[np.concatenate(links)[best]]
    return np.column_stack([path[parent], target]), longer[best]


def _support(strength: np.ndarray, min_strength: float) -> np.ndarray:
    """In how many graphs each path is; as a product, which is fast for two graphs as for a hundred."""
    return (strength >= min_strength).astype(np.float32) @ np.ones(strength.shape[1], np.float32)


def _largest(strength: np.ndarray, n: int) -> np.ndarray:
    """The places of the n of the largest mean, from large to small, equal ones in the order in which they stand."""
    mean = strength @ np.full(strength.shape[1], 1 / max(strength.shape[1], 1), strength.dtype)
    places = np.arange(len(mean))
    if len(mean) > n:
        least = np.partition(mean, -n)[-n]
        above, same = np.flatnonzero(mean > least), np.flatnonzero(mean == least)
        places = np.sort(np.concatenate([above, same[: n - len(above)]]))
    return places[np.argsort(-mean[places], kind="stable")]


def _mined(table: Table, path: np.ndarray, strength: np.ndarray, min_strength: float) -> Mined:
    has = strength >= min_strength
    shares = tuple(float(table.share[_link(table, int(a), int(b))][has].mean()) for a, b in pairwise(path))
    names = tuple(str(name) for name in table.names[path])
    return Mined(names, tuple(table.graphs), strength.astype(np.float64), shares, int(has.sum()))


def _link(table: Table, source: int, target: int) -> int:
    links = slice(table.start[source], table.start[source + 1])
    return int(links.start + np.searchsorted(table.target[links], target))


def mean_strength(table: Table, names: Sequence[str]) -> float:
    """Mean strength of the path with these names over the graphs of a table; 0 where a link is in none."""
    code = pd.Index(table.names).get_indexer(list(names))
    if (code < 0).any():
        return 0.0
    strength = np.ones(len(table.graphs))
    for a, b in pairwise(code):
        links = slice(table.start[a], table.start[a + 1])
        place = np.flatnonzero(table.target[links] == b)
        if not len(place):
            return 0.0
        strength = strength * table.share[links.start + place[0]]
    return float(strength.mean())


def _q_by_size(found: Sequence[Mined], by_chance: dict[int, list[float]], dealt: int) -> list[float]:
    """For each circuit, (1 + chance circuits as strong, a dealt table) over circuits as strong, at most 1, made to rise
    as circuits get weaker. The 1 keeps the rate right when few are counted."""
    q_of = [1.0] * len(found)
    for size in {len(circuit.names) for circuit in found}:
        places = [place for place, circuit in enumerate(found) if len(circuit.names) == size]
        chance = np.sort(by_chance.get(size, []))
        worst = 1.0
        for rank, place in reversed(list(enumerate(places, 1))):  # found stands from strong to weak
            as_strong = len(chance) - np.searchsorted(chance, found[place].mean)
            worst = min(worst, (1 / dealt + as_strong / dealt) / rank)
            q_of[place] = float(worst)
    return q_of
