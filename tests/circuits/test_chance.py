"""Against chance: the nulls by hand and against exhaustive enumeration, and how often noise passes as a finding."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from circuits.chance import (
    OTHER_ENTITIES,
    REWIRED,
    SHUFFLED_ANSWERS,
    against_chance,
    by_template,
    dealt_flows,
    permuted,
    q_values,
    rewire,
    superiority,
)
from circuits.promptset import Member, PromptRow
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, graphs, make_graph
from tracer.errors import PatternError, SettingError

STATES = ["Texas", "California", "Ohio", "Utah", "Iowa", "Maine"]
PATTERN = "{city} -> {state} -> {capital}"


def prompt(place: int, signal: float, random: np.random.Generator, template: str = "1") -> Member:
    """City c -> every state -> every capital with random effects; its own state gets `signal` times as much."""
    n = len(STATES)
    nodes = [(FEATURE, 1, state) for state in STATES] + [(TOKEN, -1, f" city {place}")]
    nodes += [(LOGIT, 4, f" capital {capital}") for capital in range(n)]
    effects = {(n, state): 1.0 for state in range(n)}
    for capital in range(n):
        for state in range(n):
            own = signal if state == capital else 1.0
            effects[state, n + 1 + capital] = own * random.uniform(0.5, 1.5)
    roles = {"city": f"city {place}", "state": STATES[place], "capital": f"capital {place}"}
    return Member(PromptRow(str(place), roles, template), make_graph(nodes, effects, str(place)))


def a_set(signal: float, seed: int = 0) -> list[Member]:
    random = np.random.default_rng(seed)
    return [prompt(place, signal, random) for place in range(len(STATES))]


def test_a_true_middle_step_stands_out_from_that_of_other_entities():
    found = {each.null: each for each in against_chance(PATTERN, a_set(signal=20.0), draws=199)}
    assert list(found) == [OTHER_ENTITIES, SHUFFLED_ANSWERS, REWIRED]
    entities = found[OTHER_ENTITIES]
    assert (entities.superiority, entities.p) == (1.0, pytest.approx(1 / 200, abs=0.006))
    assert entities.lift > 3
    assert found[REWIRED].lift > 2


def test_without_signal_nothing_stands_out():
    found = {each.null: each for each in against_chance(PATTERN, a_set(signal=1.0), draws=199)}
    assert found[OTHER_ENTITIES].p > 0.05
    assert 0.2 < found[OTHER_ENTITIES].superiority < 0.8


def test_only_what_is_named_as_a_role_can_be_dealt():
    chosen = a_set(signal=20.0)
    assert [each.null for each in against_chance("{city} -> {capital}", chosen, draws=19)] == [
        SHUFFLED_ANSWERS,
        REWIRED,
    ]
    assert [each.null for each in against_chance('* -> Texas -> "capital 0"', chosen, draws=19)] == [REWIRED]


def test_middle_steps_are_exchanged_within_a_template_only():
    flows = np.array([[9.0, 1.0, np.nan], [1.0, 9.0, np.nan], [np.nan, np.nan, 5.0]])
    chance = permuted("x", flows, np.array(["1", "1", "2"]), 400, np.random.default_rng(0))
    assert chance.n == 2
    assert chance.observed == pytest.approx(23 / 3)
    assert chance.expected == pytest.approx((23 + 7) / 6, abs=0.3)  # half of the draws exchange the two


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_p_is_that_of_all_permutations(seed):
    random = np.random.default_rng(seed)
    flows = random.normal(size=(5, 5))
    every = [flows[np.arange(5), list(order)].mean() for order in permutations(range(5))]
    exact = np.mean(np.array(every) >= np.trace(flows) / 5 - 1e-12)
    chance = permuted("x", flows, np.zeros(5), 2000, random)
    assert chance.p == pytest.approx(exact, abs=0.05)
    assert chance.expected == pytest.approx(np.mean(every), abs=0.1)


def test_noise_passes_as_a_finding_no_more_often_than_stated():
    random = np.random.default_rng(1)
    p_values = np.array([permuted("x", random.exponential(size=(8, 8)), np.zeros(8), 99, random).p for _ in range(600)])
    for level in (0.05, 0.2):
        allowed = level + 3 * np.sqrt(level * (1 - level) / len(p_values))
        assert (p_values <= level).mean() <= allowed


def test_false_ones_among_the_reported_are_at_most_the_stated_rate():
    """Of 40 hypotheses 10 are true; the mean share of false ones among those with q of at most 0.1 is at most 0.1."""
    random, shares = np.random.default_rng(2), []
    for _ in range(30):
        p_values = []
        for number in range(40):
            flows = random.exponential(size=(8, 8))
            if number < 10:
                flows += 3 * np.eye(8)
            p_values.append(permuted("x", flows, np.zeros(8), 199, random).p)
        reported = np.array(q_values(p_values)) <= 0.1
        shares.append(reported[10:].sum() / max(reported.sum(), 1))
        assert reported[:10].sum() >= 5  # a test that finds nothing would pass
    assert np.mean(shares) <= 0.1 + 3 * np.std(shares) / np.sqrt(len(shares))


def test_on_noise_nothing_is_reported_in_most_sets_of_hypotheses():
    random = np.random.default_rng(3)
    any_found = [
        min(q_values([permuted("x", random.normal(size=(6, 6)), np.zeros(6), 199, random).p for _ in range(20)])) <= 0.1
        for _ in range(40)
    ]
    assert np.mean(any_found) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 40)


def test_graphs_without_a_circuit_stand_out_no_more_often_than_stated():
    """The whole way from graphs: 40 sets without signal."""
    whole, p_values = np.zeros(len(STATES)), []
    for seed in range(40):
        flows = dealt_flows(PATTERN, a_set(1.0, seed), {"state"}, "any", whole)
        p_values.append(permuted(OTHER_ENTITIES, flows, whole, 39, np.random.default_rng(seed)).p)
    assert np.mean(np.array(p_values) <= 0.1) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 40)


@given(graphs(), st.integers(0, 100))
def test_a_rewired_graph_keeps_everything_but_who_sends_what(graph, seed):
    dealt = rewire(graph, np.random.default_rng(seed))
    kinds, layers = (graph.nodes[name].to_numpy() for name in ("kind", "layer"))

    def inputs(edges):
        sources = zip(edges.target, kinds[edges.source], layers[edges.source], strict=True)
        return sorted((*map(str, source), share) for source, share in zip(sources, edges.share, strict=True))

    assert [row[:3] for row in inputs(dealt.edges)] == [row[:3] for row in inputs(graph.edges)]
    assert inputs(dealt.edges) == inputs(graph.edges)
    assert sorted(dealt.edges.effect) == sorted(graph.edges.effect)
    pairs = set(zip(dealt.edges.source.tolist(), dealt.edges.target.tolist(), strict=True))
    assert len(pairs) == len(graph.edges)  # no source is drawn twice
    assert (np.lexsort((dealt.edges.source, dealt.edges.target)) == np.arange(len(dealt.edges))).all()


def test_rewiring_draws_every_node_of_a_stratum_alike():
    nodes = [(FEATURE, 1, "a"), (FEATURE, 1, "b"), (FEATURE, 1, "c"), (LOGIT, 4, "out")]
    graph = make_graph(nodes, {(0, 3): 2.0})
    random = np.random.default_rng(0)
    drawn = np.bincount([rewire(graph, random).edges.source[0] for _ in range(600)], minlength=3)
    assert drawn == pytest.approx([200, 200, 200], abs=50)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_superiority_is_the_area_under_the_curve(own, other):
    pairs = [np.repeat(own, len(other))], [np.tile(other, len(own))]
    u = mannwhitneyu(own, other).statistic
    assert superiority(*pairs) == pytest.approx(u / (len(own) * len(other)))


def test_a_flow_that_hangs_on_the_wording_is_told_from_one_that_does_not():
    entities = np.repeat([f"city {place}" for place in range(10)], 3)
    templates = np.tile(["1", "2", "3"], 10)
    random = np.random.default_rng(0)
    alike = by_template(random.normal(1, 0.1, 30), list(templates), list(entities))
    assert min(each.p for each in alike.values()) > 0.05
    worded = by_template(random.normal(1, 0.1, 30) + (templates == "2"), list(templates), list(entities))
    assert worded["2"].p <= 0.01
    assert worded["2"].superiority == 1.0
    assert worded["2"].observed == pytest.approx(2, abs=0.2)


def test_one_wording_for_each_entity_compares_nothing():
    assert by_template(np.array([1.0, 2.0]), ["1", "2"], ["a", "b"]) == {}


def test_an_empty_set_and_no_draws_are_refused():
    with pytest.raises(PatternError, match="no prompt to measure"):
        against_chance(PATTERN, [])
    with pytest.raises(SettingError, match="draws is 0"):
        against_chance(PATTERN, a_set(1.0), draws=0)


def test_q_values_of_nothing_are_nothing():
    assert q_values([]) == []
