"""What the command line says of circuits: what they hang on, as data and as lines, and why there are none."""

import json

import pytest

from app.circuits_report import matters_lines, print_circuits, what_matters
from circuits.pattern import parse_pattern
from circuits.search import find_circuit
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, make_graph

NODES = [(FEATURE, 1, "Texas"), (FEATURE, 2, "capital"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
GRAPH = make_graph(NODES, {(2, 0): 3.0, (0, 1): 2.0, (2, 1): -1.0, (1, 3): 1.0})
PATTERN = "Dallas -> Texas -> Austin"
CIRCUIT = find_circuit(parse_pattern(PATTERN), GRAPH)


def test_what_matters_is_plain_data_with_names():
    assert CIRCUIT is not None
    told = json.loads(json.dumps(what_matters(PATTERN, {}, GRAPH, CIRCUIT)))
    assert [(each["name"], each["part"], each["waypoint"]) for each in told["necessary"]] == [("capital", 1.0, None)]
    assert [each["name"] for each in told["core"] + told["contingent"]]
    assert [(each["source"]["name"], each["target"]["name"]) for each in told["inhibitors"]] == [("Dallas", "capital")]
    assert [each["n_links"] for each in told["bottlenecks"]] == [1, 1]
    assert told["suppressors"] == []  # one output


def test_what_matters_reads_as_lines():
    assert CIRCUIT is not None
    lines = matters_lines(what_matters(PATTERN, {}, GRAPH, CIRCUIT))
    assert "without it, flow falls by: capital 100%" in lines
    assert any(line.startswith("bottleneck of arrow 1 (shares 1.00): Dallas -> Texas") for line in lines)
    assert matters_lines({}) == []


def test_nodes_of_one_name_are_told_apart_by_their_node_id():
    assert CIRCUIT is not None
    told = what_matters(PATTERN, {}, GRAPH, CIRCUIT)
    twin = told["necessary"][0] | {"node_id": "twin"}
    lines = matters_lines(told | {"necessary": [told["necessary"][0], twin]})
    node_id = told["necessary"][0]["node_id"]
    assert f"without it, flow falls by: capital ({node_id}) 100%, capital (twin) 100%" in lines


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_every_format_prints_flow_paths_and_what_matters(format, capsys):
    assert CIRCUIT is not None
    print_circuits([CIRCUIT], "", format, [what_matters(PATTERN, {}, GRAPH, CIRCUIT)])
    printed = capsys.readouterr().out
    assert "capital" in printed and "a prompt" in printed
    if format == "json":
        assert set(json.loads(printed)[0]) >= {"flow", "positive", "negative", "share", "paths", "matters"}


def test_nothing_found_is_said_on_stderr_and_is_an_empty_list(capsys):
    print_circuits([], "", "json", why_none="No node of 2 graphs fits waypoint 1, x.\n  x -> y\n  ^")
    printed = capsys.readouterr()
    assert json.loads(printed.out) == [] and "  x -> y\n  ^" in printed.err
