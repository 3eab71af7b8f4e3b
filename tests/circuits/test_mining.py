"""Mining: circuits by hand, all of them against enumeration, what chance gives, how fast."""

import time
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.aligned import LINK_COLUMNS, link_table, link_tables
from circuits.mining import Mining, MiningConfig, deal, mine, owed_to
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, make_graph
from tracer.errors import GraphFormatError, SettingError
from tracer.schema import NodeKind

CHAIN = {("0a", "1a"): 1.0, ("1a", "2a"): 1.0}
PLAIN = MiningConfig(dealt=0, min_strength=1e-6, limit=1000)


def table(*graphs: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Links of graphs 0, 1, ..., names such as `2x` in the layer that they start with."""
    rows = [
        (str(number), source, target, share, int(source[0]), int(target[0]))
        for number, links in enumerate(graphs)
        for (source, target), share in links.items()
    ]
    return pd.DataFrame(rows, columns=["graph_id", "source", "target", "share", "source_layer", "target_layer"])


def noise(n_graphs: int, random: np.random.Generator, n_links: int = 60) -> list[dict[tuple[str, str], float]]:
    """Links between names of four layers, anew in every graph."""
    every = [(f"{a}{x}", f"{b}{y}") for a in range(4) for b in range(a + 1, 4) for x in "abcdef" for y in "abcdef"]
    return [
        {every[place]: random.uniform(0.05, 0.5) for place in random.choice(len(every), n_links, replace=False)}
        for _ in range(n_graphs)
    ]


def test_a_chain_that_two_of_three_graphs_have_is_found_with_its_strength():
    chain = {("0a", "1b"): 0.5, ("1b", "2c"): 0.4}
    [found] = mine(table(chain, {("0a", "1b"): 0.1, ("1b", "2c"): 1.0}, {("0a", "2c"): 1.0}), PLAIN)
    assert found.names == ("0a", "1b", "2c")
    assert (found.support, found.graphs) == (2, ("0", "1", "2"))
    assert found.strength == pytest.approx([0.2, 0.1, 0.0])
    assert found.mean == pytest.approx(0.1)
    assert found.shares == pytest.approx((0.3, 0.7))
    assert found.as_row()["circuit"] == "0a -> 1b -> 2c"


def test_what_one_graph_alone_has_does_not_recur():
    assert mine(table({("0a", "1b"): 1.0, ("1b", "2c"): 1.0}, {("0a", "1b"): 1.0}), PLAIN) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_mining_finds_exactly_the_paths_that_enumeration_finds(seed, n_graphs):
    random = np.random.default_rng(seed)
    graphs = noise(n_graphs, random, n_links=25)
    config = MiningConfig(dealt=0, min_strength=0.01, min_support=0.4, limit=10_000, max_size=4)
    found = {circuit.names: circuit.strength for circuit in mine(table(*graphs), config)}
    whole = nx.DiGraph([link for links in graphs for link in links])
    least = max(2, int(np.ceil(0.4 * n_graphs)))
    expected = {}
    for source in whole:
        for target in set(whole) - {source}:
            for path in nx.all_simple_paths(whole, source, target, cutoff=3):
                strength = [np.prod([links.get(link, 0.0) for link in pairwise(path)]) for links in graphs]
                if len(path) >= 3 and sum(value >= 0.01 for value in strength) >= least:
                    expected[tuple(path)] = strength
    assert set(found) == set(expected)
    for names, strength in found.items():
        assert strength == pytest.approx(expected[names], rel=1e-5)


def test_each_size_has_its_strongest_first_and_no_more_than_the_limit():
    random = np.random.default_rng(0)
    found = mine(table(*noise(4, random, n_links=150)), MiningConfig(dealt=0, min_strength=1e-4, limit=7, max_size=4))
    for size in (3, 4):
        means = [circuit.mean for circuit in found if len(circuit.names) == size]
        assert len(means) == 7
        assert means == sorted(means, reverse=True)


def test_a_narrow_beam_loses_nothing_that_is_stronger_than_what_it_left_out():
    links = table(*noise(4, np.random.default_rng(1), n_links=150))
    wide, narrow = (
        mine(links, MiningConfig(dealt=0, min_strength=1e-4, limit=3, max_size=4, beam=beam)) for beam in (10**6, 60)
    )
    assert [circuit.names for circuit in wide] == [circuit.names for circuit in narrow]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_dealing_keeps_what_every_target_gets_from_every_layer(seed):
    random = np.random.default_rng(seed)
    links = table(*noise(3, random))
    dealt = deal(links, random)
    keys = ["graph_id", "target", "source_layer", "target_layer"]
    before, after = (frame.groupby(keys, as_index=False)[["share"]].sum() for frame in (links, dealt))
    pd.testing.assert_frame_equal(pd.DataFrame(before), pd.DataFrame(after))
    assert set(dealt["source"]) == set(links["source"])


def test_a_planted_circuit_is_told_from_chance():
    random = np.random.default_rng(0)
    planted = {("0a", "1a"): 0.6, ("1a", "2a"): 0.6, ("2a", "3a"): 0.6}
    graphs = [links | planted for links in noise(12, random)]
    found = mine(table(*graphs), MiningConfig(dealt=20, max_size=4))
    best = next(circuit for circuit in found if len(circuit.names) == 4)
    assert best.names == ("0a", "1a", "2a", "3a")
    assert best.support == 12
    assert best.q <= 0.05
    assert best.lift > 10


def test_circuits_of_noise_are_reported_no_more_often_than_stated():
    """Noise has strongest paths too; in at most a tenth of the tables does one have q of at most 0.1."""
    any_reported = []
    for seed in range(8):
        found = mine(
            table(*noise(8, np.random.default_rng(seed))), MiningConfig(dealt=10, max_size=4, limit=5, seed=seed)
        )
        for size in (3, 4):
            q_of = [circuit.q for circuit in found if len(circuit.names) == size]
            any_reported.append(min(q_of, default=1.0) <= 0.1)
    assert np.mean(any_reported) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / len(any_reported))


def rows(found) -> list[dict]:
    return [circuit.as_row() for circuit in found]


def test_mining_that_is_left_early_tells_what_it_counted_until_then():
    links, config = table(*noise(8, np.random.default_rng(5))), MiningConfig(dealt=5, max_size=3)
    mining, told = Mining(links, config), []
    assert [circuit.names for circuit in mining.found] == [circuit.names for circuit in mine(links, config)]
    assert all(np.isnan(circuit.q) for circuit in mining.found) and mining.step() and mining.step()
    assert rows(mining.found) == rows(mine(links, replace(config, dealt=2))) and not mining.complete
    mining.run(lambda done, total, what: told.append((done, total)))
    assert told == [(3, 5), (4, 5), (5, 5)] and mining.complete and rows(mining.found) == rows(mine(links, config))


def test_q_rises_as_circuits_get_weaker():
    found = mine(table(*noise(8, np.random.default_rng(5))), MiningConfig(dealt=5, max_size=3))
    assert [circuit.q for circuit in found] == sorted(circuit.q for circuit in found)
    assert all(0 < circuit.q <= 1 for circuit in found)


def test_a_circuit_of_a_fact_goes_with_the_entity_and_one_of_the_wording_with_the_template():
    entities = [entity for entity in "pqrstu" for _ in range(3)]
    templates = ["1", "2", "3"] * 6
    graphs = []
    for entity, template in zip(entities, templates, strict=True):
        fact = {("0a", "1a"): 0.5, ("1a", "2a"): 0.5} if entity == "p" else {}
        wording = {("0b", "1b"): 0.5, ("1b", "2b"): 0.5} if template == "1" else {}
        graphs.append(fact | wording | {("0c", "1c"): 0.5, ("1c", "2c"): 0.5})
    found = mine(table(*graphs), replace(PLAIN, min_support=0.1))
    order = [int(name) for name in found[0].graphs]
    entity_G, template_G = [entities[place] for place in order], [templates[place] for place in order]
    of_entity = dict(zip((circuit.names[0] for circuit in found), owed_to(found, entity_G, template_G), strict=True))
    of_template = dict(zip((circuit.names[0] for circuit in found), owed_to(found, template_G, entity_G), strict=True))
    assert (of_entity["0a"].label, of_entity["0a"].lift) == ("p", float("inf"))
    assert of_entity["0a"].p <= 0.05 < of_template["0a"].p
    assert of_template["0b"].label == "1"
    assert of_template["0b"].p <= 0.05 < of_entity["0b"].p
    assert (of_entity["0c"].p, of_entity["0c"].lift) == (1.0, 1.0)


def test_labels_that_mean_nothing_are_reported_no_more_often_than_stated():
    random, p_values = np.random.default_rng(0), []
    for _ in range(10):
        found = mine(table(*noise(12, random)), MiningConfig(dealt=0, limit=20, max_size=3))
        labels = random.permutation(["p", "q", "r"] * 4)
        p_values += [owed.p for owed in owed_to(found, list(labels), ["1"] * 12, draws=99)]
    # paths of one table share links, so the p of a table go together: only the mean is looked at
    assert len(p_values) > 100
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15


def test_of_a_graph_the_share_of_a_link_counts_targets_by_influence():
    nodes = [(FEATURE, 1, "Texas"), (FEATURE, 2, "capital"), (FEATURE, 2, "capital"), (TOKEN, -1, " Dallas")]
    nodes.append((LOGIT, 4, " Austin"))
    graph = make_graph(nodes, {(0, 1): 1.0, (3, 1): 1.0, (0, 2): -1.0, (3, 2): 3.0, (1, 4): 1.0, (2, 4): 1.0})
    graph.nodes["influence"] = np.array([0.1, 0.75, 0.25, 0.5, 0.0], np.float32)
    rows = link_table(graph, "label").to_dict("records")
    links = {(row["source"], row["target"]): row for row in rows}
    assert list(link_table(graph, "label")) == list(LINK_COLUMNS)
    assert links["Texas", "capital"]["share"] == pytest.approx(0.75 * 0.5 + 0.25 * 0.25)
    assert links["Texas", "capital"]["signed"] == pytest.approx(0.75 * 0.5 - 0.25 * 0.25)
    assert links["capital", "output Austin"]["share"] == pytest.approx(1.0)
    assert links["token Dallas", "capital"]["source_layer"] == -1


def test_graphs_are_mined_by_feature_by_label_and_by_supernode():
    nodes = [(FEATURE, 1, "Texas"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    graphs = [make_graph(nodes, {(1, 0): effect, (0, 2): 1.0}, str(effect)) for effect in (1.0, 2.0)]
    for graph in graphs:
        graph.metadata.provenance["supernodes"] = [{"label": "the South", "members": ["1_0_0"]}]
    middle = {by: mine(link_tables(graphs, by), PLAIN)[0].names[1] for by in ("feature", "label", "supernode")}
    assert middle == {"feature": "1/0", "label": "Texas", "supernode": "the South"}


def test_a_hundred_graphs_of_published_size_are_mined_in_less_than_ten_seconds():
    random = np.random.default_rng(0)
    layer, names = np.sort(random.integers(0, 26, 2_000)), np.array([f"feature {number}" for number in range(2_000)])
    source, target = random.integers(0, 2_000, (2, 40_000))
    up = np.flatnonzero(layer[source] < layer[target])
    parts = []
    for number in range(100):
        chosen = np.concatenate([up[:2_000], random.choice(up[2_000:], 2_000, replace=False)])  # half recur
        parts.append(
            pd.DataFrame(
                {
                    "graph_id": str(number),
                    "source": names[source[chosen]],
                    "target": names[target[chosen]],
                    "share": random.exponential(0.1, len(chosen)).clip(max=1),
                    "source_layer": layer[source[chosen]],
                    "target_layer": layer[target[chosen]],
                }
            )
        )
    links = pd.concat(parts)
    began = time.process_time()  # the machine may have other work
    assert mine(links)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (table({("0a", "1b"): 1.0}), "1 graphs have links; expected at least two"),
        (pd.DataFrame({"graph_id": ["a"], "source": ["x"]}), "lacks target, share"),
        (table(CHAIN, CHAIN).drop(columns="source_layer"), "lacks source_layer or target_layer"),
    ],
)
def test_a_table_that_cannot_be_mined_is_refused(links, message):
    with pytest.raises(GraphFormatError, match=message):
        mine(links)


@pytest.mark.parametrize("settings", [{"min_size": 5, "max_size": 4}, {"max_size": 13}, {"min_support": 0.0}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(SettingError):
        MiningConfig(**settings)


def test_names_by_something_unknown_are_refused():
    graph = make_graph([(TOKEN, -1, " a"), (LOGIT, 4, " b")], {(0, 1): 1.0})
    with pytest.raises(SettingError, match="by 'colour'"):
        link_table(graph, "colour")  # type: ignore[arg-type]


def test_only_kinds_that_are_asked_for_have_names():
    graph = make_graph(
        [(FEATURE, 1, "x"), (TOKEN, -1, " a"), (LOGIT, 4, " b")], {(1, 0): 1.0, (0, 2): 1.0, (1, 2): 1.0}
    )
    links = link_table(graph, "feature", (NodeKind.TOKEN, NodeKind.LOGIT))
    assert links[["source", "target"]].to_numpy().tolist() == [["token a", "output b"]]
