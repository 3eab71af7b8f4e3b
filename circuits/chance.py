"""Against chance: how much of what a pattern shows is owed to wording, to any name at all, or to the graph's shape.

One statistic, the mean flow over the prompts of a set, and three ways to deal anew what it should depend on:

    other entities    the middle waypoints of another prompt of the same template, in the prompt's own graph
    shuffled answers  the last waypoint of another prompt of the set, in the prompt's own graph
    rewired           graphs in which every node draws its sources anew among the nodes of the same layer and kind

Each is a permutation test: what was measured counts among the draws, so that without any signal p is at most a by
chance a. `by_template` asks the converse: whether flow depends on the wording where the entity is the same.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

from circuits.flow import flow
from circuits.pattern import match, parse_pattern
from circuits.promptset import Member, bind
from tracer.errors import PatternError, SettingError
from tracer.graph import AttributionGraph

N_DRAWS = 999  # the smallest p is 1 / (1 + draws)
N_REWIRED = 19  # each costs a flow for every graph; enough for p = 0.05
OTHER_ENTITIES, SHUFFLED_ANSWERS, REWIRED = "other entities", "shuffled answers", "rewired"


@dataclass(frozen=True)
class Chance:
    """What was measured beside what chance gives."""

    null: str
    """What was dealt anew, one of the names above."""
    observed: float
    """The statistic as measured."""
    expected: float
    """Its mean over the draws."""
    lift: float
    """observed / expected; infinite where chance gives nothing."""
    superiority: float
    """Effect size: the chance that a prompt's own flow is above a dealt one, ties half. 0.5: no effect, 1: always."""
    p: float
    """Of a statistic this large by chance; one-sided, or two-sided in `by_template`."""
    draws: int
    """How often it was dealt."""
    n: int
    """Prompts that could be dealt anew."""


def against_chance(
    pattern: str, chosen: Sequence[Member], sign: str = "any", draws: int = N_DRAWS, seed: int = 0
) -> list[Chance]:
    """The pattern against each null that it and the set allow.

    Args:
        pattern: With a role among its waypoints, or nothing can be dealt but the edges.
        draws: Permutations; for rewired graphs N_REWIRED at most.

    Raises:
        PatternError: The set is empty.
    """
    if not chosen:
        raise PatternError("there is no prompt to measure; expected at least one. Add prompts to the set.")
    random = np.random.default_rng(seed)
    waypoints = bind(pattern, chosen[0].row).waypoints
    ends = {waypoints[0].role, waypoints[-1].role}
    middle = {waypoint.role for waypoint in waypoints[1:-1] if waypoint.role} - ends
    found = []
    if middle:
        templates = np.array([member.row.template for member in chosen])
        flows_NN = dealt_flows(pattern, chosen, middle, sign, templates)
        found.append(permuted(OTHER_ENTITIES, flows_NN, templates, draws, random))
    if waypoints[-1].role:
        whole = np.zeros(len(chosen), np.int64)
        flows_NN = dealt_flows(pattern, chosen, {waypoints[-1].role}, sign, whole)
        found.append(permuted(SHUFFLED_ANSWERS, flows_NN, whole, draws, random))
    return [*found, rewired(pattern, chosen, sign, min(draws, N_REWIRED), random)]


def dealt_flows(pattern: str, chosen: Sequence[Member], dealt: set[str], sign: str, strata: np.ndarray) -> np.ndarray:
    """(N, N) flow in the graph of each prompt with these roles taken from each prompt, NaN between strata."""
    flows_NN = np.full((len(chosen), len(chosen)), np.nan)
    for place, member in enumerate(chosen):
        known: dict[tuple[str, ...], float] = {}
        for other in np.flatnonzero(strata == strata[place]).tolist():
            taken = {role: chosen[other].row.roles.get(role, "") for role in sorted(dealt)}
            key = tuple(taken.values())
            if key not in known:
                roles = member.row.roles | taken
                known[key] = flow_of(pattern, roles, member.graph, sign)
            flows_NN[place, other] = known[key]
    return flows_NN


def flow_of(pattern: str, roles: dict[str, str], graph: AttributionGraph, sign: str) -> float:
    """Flow of the pattern with these roles; 0 where a waypoint is not in the graph."""
    parsed = parse_pattern(pattern, {role: [text] for role, text in roles.items() if text})
    groups = match(parsed, graph)
    return flow(graph, groups, sign, parsed.ways) if all(len(group) for group in groups) else 0.0


def permuted(null: str, flows_NN: np.ndarray, strata: np.ndarray, draws: int, random: np.random.Generator) -> Chance:
    """The mean of the diagonal against the mean over permuted columns, permuted within strata.

    Args:
        flows_NN: Statistic of each prompt (row) with what each prompt gives (column).
        strata: (N,) columns are only exchanged where these are equal; a stratum of one stays as it is.

    >>> flows = np.array([[3.0, 0.0], [0.0, 5.0]])
    >>> chance = permuted("other entities", flows, np.zeros(2), 99, np.random.default_rng(0))
    >>> chance.observed, chance.superiority
    (4.0, 1.0)
    """
    _check_draws(draws)
    row_N = np.arange(len(flows_NN))
    observed = float(flows_NN[row_N, row_N].mean())
    places = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    places = [place for place in places if len(place) > 1]
    means, column_N = np.empty(draws), row_N.copy()
    for draw in range(draws):
        for place in places:
            column_N[place] = random.permutation(place)
        means[draw] = flows_NN[row_N, column_N].mean()
    own, other = [], []
    for place in places:
        block = flows_NN[np.ix_(place, place)]
        apart = ~np.eye(len(place), dtype=bool)
        own.append(np.repeat(np.diag(block), len(place) - 1))
        other.append(block[apart])
    n = sum(map(len, places))
    return _chance(null, observed, means, superiority(own, other), n)


def rewired(pattern: str, chosen: Sequence[Member], sign: str, draws: int, random: np.random.Generator) -> Chance:
    """The mean flow against that in rewired graphs."""
    _check_draws(draws)
    own_N = np.array([flow_of(pattern, member.row.roles, member.graph, sign) for member in chosen])
    flows_DN = np.array(
        [
            [flow_of(pattern, member.row.roles, rewire(member.graph, random), sign) for member in chosen]
            for _ in range(draws)
        ]
    )
    effect = superiority([np.tile(own_N, draws)], [flows_DN.ravel()])
    return _chance(REWIRED, float(own_N.mean()), flows_DN.mean(axis=1), effect, len(chosen))


def rewire(graph: AttributionGraph, random: np.random.Generator) -> AttributionGraph:
    """A graph of the same nodes in which every node draws its sources anew, within their layer and kind.

    How many inputs a node has, from which layers and kinds, with which effects and shares, stays as it was; which node
    sends which of them is chance. No source is drawn twice.
    """
    nodes, edges = graph.nodes, graph.edges
    stratum_N = nodes.groupby(["kind", "layer"], sort=False, observed=True).ngroup().to_numpy()
    source = edges.source.copy()
    for stratum in np.unique(stratum_N[edges.source]):
        chosen = np.flatnonzero(stratum_N[edges.source] == stratum)
        among = np.flatnonzero(stratum_N == stratum)
        target, row, count = np.unique(edges.target[chosen], return_inverse=True, return_counts=True)
        # The places of each target's edges in its own random order of the stratum: its first `count` nodes.
        order = random.random((len(target), len(among))).argsort(axis=1)
        start = np.cumsum(count) - count
        by_target = np.argsort(row, kind="stable")
        place = np.arange(len(chosen)) - start[row[by_target]]
        source[chosen[by_target]] = among[order[row[by_target], place]]
    order = np.lexsort((source, edges.target))
    return replace(graph, edges=replace(edges, source=source).take(order))


def by_template(
    flow_N: np.ndarray, template_N: Sequence[str], entity_N: Sequence[str], draws: int = N_DRAWS, seed: int = 0
) -> dict[str, Chance]:
    """For each template, its mean flow against that of the other templates with the same entities; p is two-sided.

    Templates are dealt anew among the prompts of one entity. A small effect says that what was found does not hang on
    the wording.
    """
    _check_draws(draws)
    random = np.random.default_rng(seed)
    template, entity, flow_N = np.asarray(template_N), np.asarray(entity_N), np.asarray(flow_N, float)
    places = [np.flatnonzero(entity == name) for name in np.unique(entity)]
    places = [place for place in places if len(np.unique(template[place])) > 1]
    if not places:
        return {}
    used = np.concatenate(places)
    names = np.unique(template[used])
    dealt_DN = np.empty((draws, len(template)), template.dtype)
    dealt_DN[:] = template
    for dealt in dealt_DN:
        for place in places:
            dealt[place] = random.permutation(template[place])
    found = {}
    for name in names:
        mean = float(flow_N[used][template[used] == name].mean())
        means = np.array([flow_N[used][dealt[used] == name].mean() for dealt in dealt_DN])
        own, other = flow_N[used][template[used] == name], flow_N[used][template[used] != name]
        effect = superiority([np.repeat(own, len(other))], [np.tile(other, len(own))])
        chance = _chance("other templates", mean, means, effect, len(used))
        apart = np.abs(means - means.mean()) >= abs(mean - means.mean()) - _TIE * abs(mean)
        found[str(name)] = replace(chance, p=float((1 + apart.sum()) / (1 + draws)))
    return found


def superiority(own: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """The share of pairs in which the first is larger, ties half; 0.5 where there are no pairs."""
    pairs = [np.sign(mine - theirs) for mine, theirs in zip(own, other, strict=True)]
    sizes = sum(map(len, pairs))
    return float(0.5 + sum(each.sum() for each in pairs) / (2 * sizes)) if sizes else 0.5


def q_values(p_values: Sequence[float]) -> list[float]:
    """What each p becomes when many are looked at (Benjamini and Hochberg): reporting those with q of at most a, the
    expected share of false ones among them is at most a.

    Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate", J. R. Stat. Soc. B 57.

    >>> [round(q, 3) for q in q_values([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    return false_discovery_control(p_values).tolist() if len(p_values) else []


def chance_rows(chances: Sequence[Chance]) -> list[dict[str, Any]]:
    """As plain data, each with its q among all of them."""
    q_of = q_values([each.p for each in chances])
    return [asdict(each) | {"q": q} for each, q in zip(chances, q_of, strict=True)]


_TIE = 1e-9  # relative: sums of the same numbers in another order are not a difference


def _chance(null: str, observed: float, drawn: np.ndarray, effect: float, n: int) -> Chance:
    expected = float(drawn.mean())
    as_large = int((drawn >= observed - _TIE * abs(observed)).sum())
    lift = observed / expected if expected else (np.inf if observed else 1.0)
    return Chance(null, observed, expected, float(lift), effect, (1 + as_large) / (1 + len(drawn)), len(drawn), n)


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise SettingError(f"draws is {draws}; expected at least 1. Give more; the smallest p is 1 / (1 + draws).")
