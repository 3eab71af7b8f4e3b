"""Prompt sets: what a table may look like, where a pattern is found in it, and which waypoint fails."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.chance import flow_of
from circuits.promptset import PromptSet, find_in_set, graphs_by_name, members, summarise
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, make_graph
from tracer.errors import GraphFormatError, PatternError, SettingError
from tracer.graph import AttributionGraph

PATTERN = "{city} -> {state} -> {capital}"
ROWS = [
    {"slug": "dallas", "city": "Dallas", "state": "Texas", "capital": "Austin", "template": "1"},
    {"slug": "oakland", "city": "Oakland", "state": "California", "capital": "Sacramento", "template": "1"},
]


def chain(city: str, state: str, capital: str, through: float = 3.0, slug: str = "") -> AttributionGraph:
    """city -> state -> capital beside city -> capital of effect 1, so the flow is through / (through + 1)."""
    nodes = [(FEATURE, 1, state), (TOKEN, -1, f" {city}"), (LOGIT, 4, f" {capital}")]
    effects = {(1, 0): 1.0, (0, 2): through, (1, 2): 1.0}
    return make_graph(nodes, {ends: effect for ends, effect in effects.items() if effect}, slug or city.lower())


def of_dictionary(graph: AttributionGraph, source_set: str) -> AttributionGraph:
    return replace(graph, metadata=replace(graph.metadata, source_set=source_set))


@pytest.fixture
def graphs() -> list[AttributionGraph]:
    return [chain("Dallas", "Texas", "Austin"), chain("Oakland", "California", "Sacramento", through=1.0)]


def test_each_prompt_is_searched_with_its_own_roles(graphs):
    prompts = PromptSet.of(ROWS)
    found = list(find_in_set(PATTERN, members(prompts, graphs_by_name(graphs))))
    assert [each.slug for each in found] == ["dallas", "oakland"]
    assert [each.flow for each in found] == pytest.approx([0.75, 0.5])
    assert all(each.is_found for each in found)


def test_the_summary_counts_prompts_flow_spread_and_failures(graphs):
    found = list(find_in_set(PATTERN, members(PromptSet.of(ROWS), graphs_by_name(graphs)), needed=0.6))
    summary = summarise(PATTERN, found)
    assert (summary.n, summary.found) == (2, 1)
    assert summary.mean == pytest.approx(0.625)
    assert summary.spread == pytest.approx(0.25 / 2**0.5)
    assert summary.quartiles == pytest.approx((0.5625, 0.625, 0.6875))
    assert summary.failed == {"{state}": 1}


def test_a_waypoint_that_no_node_is_fails():
    graph = chain("Dallas", "Ohio", "Austin")
    [found] = find_in_set(PATTERN, members(PromptSet.of(ROWS[:1]), graphs_by_name([graph])))
    assert (found.flow, found.failed, found.reason) == (0.0, "{state}", "no node of the graph is that")


def test_a_waypoint_that_nothing_reaches_fails():
    nodes = [(FEATURE, 1, "Texas"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    graph = make_graph(nodes, {(0, 2): 1.0, (1, 2): 1.0}, "dallas")
    [found] = find_in_set(PATTERN, members(PromptSet.of(ROWS[:1]), graphs_by_name([graph])))
    assert (found.flow, found.failed) == (0.0, "{state}")
    assert found.reason == "no path reaches it from {city}"


def test_where_only_the_last_step_is_missing_the_last_waypoint_fails():
    nodes = [(FEATURE, 1, "Texas"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    graph = make_graph(nodes, {(1, 0): 1.0, (1, 2): 1.0}, "dallas")
    [found] = find_in_set(PATTERN, members(PromptSet.of(ROWS[:1]), graphs_by_name([graph])))
    assert (found.failed, found.reason) == ("{capital}", "no path reaches it from {state}")


def test_of_a_weak_circuit_the_waypoint_is_named_without_which_there_is_most():
    nodes = [(FEATURE, 1, "Texas"), (FEATURE, 2, "capital"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    effects = {(2, 0): 1.0, (0, 1): 1.0, (2, 1): 9.0, (1, 3): 1.0}  # Dallas -> capital goes past Texas
    graph = make_graph(nodes, effects, "dallas")
    pattern = "{city} -> {state} -> capital -> {capital}"
    [found] = find_in_set(pattern, members(PromptSet.of(ROWS[:1]), graphs_by_name([graph])), needed=0.5)
    assert found.flow == pytest.approx(0.1)
    assert found.failed == "{state}"
    assert found.reason == "the flow is 0.1, less than 0.5, and 1 without it"


@given(st.floats(0.1, 10), st.floats(0, 1))
def test_a_prompt_is_found_exactly_where_its_flow_is_large_enough(through, needed):
    graph = chain("Dallas", "Texas", "Austin", through)
    [found] = find_in_set(PATTERN, members(PromptSet.of(ROWS[:1]), graphs_by_name([graph])), needed=needed)
    assert found.is_found == (found.flow >= needed)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json", "jsonl"])
def test_a_set_is_the_same_from_every_kind_of_file(tmp_path, ending):
    path = tmp_path / f"capitals.{ending}"
    match ending:
        case "csv":
            pd.DataFrame(ROWS).to_csv(path, index=False)
        case "parquet":
            pd.DataFrame(ROWS).to_parquet(path)
        case "json":
            path.write_text(json.dumps(ROWS))
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert PromptSet.read(path).rows == PromptSet.of(ROWS).rows


def test_roles_may_stand_in_one_column_as_in_the_demos_prompts():
    row = {"slug": "a", "roles": {"city": "Dallas", "answer": "Austin"}, "family": "two-hop"}
    read = PromptSet.of([row]).rows[0]
    assert (read.roles, read.answer) == ({"city": "Dallas", "answer": "Austin"}, "Austin")
    assert PromptSet.of([row | {"roles": json.dumps(row["roles"])}]).rows[0] == read


def test_a_role_that_some_prompt_lacks_is_refused_with_the_row():
    prompts = PromptSet.of([ROWS[0], ROWS[1] | {"state": ""}], "capitals.csv")
    with pytest.raises(
        PatternError, match=r"capitals.csv: role \{state\} is empty in 1 of 2 rows \(row 2\).*column state"
    ):
        prompts.check(PATTERN)
    prompts.check("{city} -> {capital}")


def test_a_role_that_no_prompt_has_is_refused():
    with pytest.raises(PatternError, match=r"country.*there are"):
        PromptSet.of(ROWS).check("{city} -> {country} -> {capital}")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([{"city": "Dallas"}], "row 1 does not say which graph it is of.*There are city"),
        ([{"slug": "a", "roles": "Dallas"}], "row 1 has roles that are no object"),
    ],
)
def test_a_table_that_is_no_set_is_refused(rows, message):
    with pytest.raises(PatternError, match=message):
        PromptSet.of(rows)


@pytest.mark.parametrize(("name", "text"), [("no.csv", None), ("set.txt", "a,b"), ("set.json", "{")])
def test_a_file_that_is_no_set_is_refused_by_name(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(PatternError, match=rf"{name}: .*expected a table of prompts"):
        PromptSet.read(tmp_path / name)


def test_a_row_without_a_graph_is_refused_with_those_there_are(graphs):
    prompts = PromptSet.of([ROWS[0] | {"slug": "houston"}])
    with pytest.raises(GraphFormatError, match="'houston', of which there is no graph; there are dallas, oakland"):
        list(members(prompts, graphs_by_name(graphs)))


def test_graphs_of_different_dictionaries_are_refused_unless_aligned_by_label(graphs):
    mixed = [graphs[0], of_dictionary(graphs[1], "other")]
    prompts = PromptSet.of(ROWS)
    with pytest.raises(GraphFormatError, match=r"2 dictionaries \(other, set\).*align by label"):
        list(find_in_set(PATTERN, members(prompts, graphs_by_name(mixed))))
    found = find_in_set(PATTERN, members(prompts, graphs_by_name(mixed)), align="label")
    assert [each.flow for each in found] == pytest.approx([0.75, 0.5])


def test_a_feature_means_nothing_across_dictionaries(graphs):
    mixed = [graphs[0], of_dictionary(graphs[1], "other")]
    with pytest.raises(GraphFormatError, match=r"names feature 1_0, .*Write the feature's label"):
        list(
            find_in_set("{city} -> 1_0 -> {capital}", members(PromptSet.of(ROWS), graphs_by_name(mixed)), align="label")
        )


def test_an_unknown_way_to_align_is_refused(graphs):
    with pytest.raises(SettingError, match="align is 'position'"):
        list(find_in_set(PATTERN, members(PromptSet.of(ROWS), graphs_by_name(graphs)), align="position"))  # type: ignore[arg-type]


def test_nothing_looked_at_cannot_be_summarised():
    with pytest.raises(PatternError, match="in no prompt"):
        summarise(PATTERN, [])


def test_a_result_is_plain_data(graphs):
    [found, _] = find_in_set(PATTERN, members(PromptSet.of(ROWS), graphs_by_name(graphs)))
    row = json.loads(json.dumps(found.as_row()))
    assert row["roles"] == {"city": "Dallas", "state": "Texas", "capital": "Austin"}
    assert (row["found"], row["template"]) == (True, "1")


@pytest.mark.parametrize("arrow", ["-{2}->", "-|"])
def test_what_an_arrow_asks_for_counts_in_a_set_too(arrow, graphs):
    chosen = list(members(PromptSet.of(ROWS), graphs_by_name(graphs)))
    [found, _] = find_in_set(f"{{city}} {arrow} {{state}} -> {{capital}}", chosen)
    assert (found.flow, found.failed) == (0.0, "{state}")
    assert flow_of(f"{{city}} {arrow} {{state}} -> {{capital}}", chosen[0].row.roles, chosen[0].graph, "any") == 0
    [found, _] = find_in_set("{city} -{2}-> {capital}", chosen)
    assert found.flow == pytest.approx(0.75)
