"""Kept circuits: plain data that comes back as it was, a table, a graph and a picture other programs read."""

import csv
import io
import json
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.kept import Kept, KeptLink, KeptNode, changes, found_in, keep, picture, read_kept
from circuits.kept_formats import write_kept
from circuits.pattern import parse_pattern
from circuits.promptset import PromptSet, find_in_set, graphs_by_name, members, summarise
from circuits.search import find_circuit
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, make_graph
from tracer.errors import GraphFormatError, SettingError

PATTERN = "{city} -> Texas -> Austin"


@pytest.fixture
def kept(dallas) -> Kept:
    prompts = PromptSet.of([{"slug": "small", "city": "Dallas", "template": "1"}])
    found = list(find_in_set(PATTERN, members(prompts, graphs_by_name([dallas]))))
    circuit = find_circuit(parse_pattern("Dallas -> Texas -> Austin"), dallas)
    assert circuit is not None
    figures = {"p": 0.01}
    return keep("capitals", found, summarise(PATTERN, found), [circuit], figures, {"sign": "any"}, "a note")


def test_a_record_has_pattern_prompts_figures_method_and_version(kept):
    row = json.loads(write_kept(kept, "json"))
    assert (row["name"], row["pattern"], row["note"], row["method"]) == ("capitals", PATTERN, "a note", {"sign": "any"})
    assert (row["figures"]["found"], row["figures"]["n"], row["figures"]["p"]) == (1, 1, 0.01)
    assert row["prompts"][0]["flow"] == pytest.approx(0.5)
    assert row["made_with"].startswith("throughline ")


def test_json_comes_back_as_the_same_record(kept):
    again = read_kept(write_kept(kept, "json"))
    assert again == kept
    assert again.kept_id == kept.kept_id


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
names = st.text("abc<>&\"'ü ", min_size=1, max_size=5)


@given(texts, texts, st.lists(st.tuples(names, texts, st.integers(-1, 9)), unique_by=lambda node: node[0], max_size=5))
def test_every_record_comes_back_and_makes_a_picture(name, note, nodes):
    there = tuple(KeptNode(*node) for node in nodes)
    links = tuple(KeptLink(a.name, b.name, 0.5, -1.0) for a, b in pairwise(there))
    kept = Kept(name, "a -> b", nodes=there, links=links, note=note)
    assert read_kept(write_kept(kept, "json")) == kept
    ElementTree.fromstring(write_kept(kept, "svg"))
    assert len(nx.parse_graphml(write_kept(kept, "graphml"))) == len({node.name for node in there})


def test_what_json_has_no_number_for_is_none_and_the_record_comes_back(dallas):
    found = [found_in(parse_pattern("Dallas -> Austin"), dallas, None, "any")]
    kept = keep("x", found, summarise("Dallas -> Austin", found), figures={"chance": [{"lift": float("inf")}]})
    assert kept.figures["chance"] == [{"lift": None}]
    assert read_kept(write_kept(kept, "json")) == kept


def test_a_graph_without_the_pattern_says_which_waypoint_failed(dallas):
    absent = found_in(parse_pattern("Dallas -> Nevada -> Austin"), dallas, None, "any")
    assert (absent.is_found, absent.failed, absent.reason) == (False, "Nevada", "no node of the graph is that")
    pattern = parse_pattern("{a} -> {b} -> {a}", {"a": ["Dallas", "Austin"], "b": ["Texas"]})
    assert find_circuit(pattern, dallas) is None
    assert found_in(pattern, dallas, None, "any").reason == "no path has the same term at each place of a role"


def test_each_prompt_has_the_nodes_of_its_strongest_path(kept, dallas):
    ids = dallas.nodes["node_id"].tolist()
    assert kept.prompts[0]["path"] == [ids[2], ids[0], ids[3]]


def test_a_run_is_compared_with_the_one_before(kept):
    def after(**values):
        return changes(kept, replace(kept, prompts=tuple(row | values for row in kept.prompts)))

    assert after() == after(flow=0.5 + 1e-9) == []
    [change] = after(flow=0.75)
    assert (change["slug"], change["change"], change["after"]) == ("small", "stronger", 0.75)
    assert [each["change"] for each in after(flow=0.25)] == ["weaker"]
    assert [each["change"] for each in after(flow=0.0, found=False)] == ["lost now"]
    assert [each["change"] for each in changes(replace(kept, prompts=()), kept)] == ["graph new"]
    assert changes(kept, replace(kept, prompts=()))[0] | {"slug": ""} == {
        "graph_id": kept.prompts[0]["graph_id"], "slug": "", "change": "graph gone",
        "before": pytest.approx(0.5), "after": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [{"name": 1}, {"pattern": ""}, {"figures": []}, {"prompts": [1]}, {"prompts": [{"graph_id": "a"}]},
     {"links": [{"source": "a", "target": "b", "share": 1.0, "effect": 1.0}]}],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(values, kept):
    with pytest.raises(GraphFormatError, match="cannot be read"):
        Kept.from_row({key: value for key, value in kept.as_row().items() if key != "kept_id"} | values)


def test_name_note_and_time_do_not_change_what_it_is(kept):
    assert replace(kept, name="x", note="y", made_at="z").kept_id == kept.kept_id
    assert replace(kept, pattern="a -> b").kept_id != kept.kept_id


def test_a_changed_record_is_refused(kept):
    row = kept.as_row()
    row["figures"]["found"] = 99
    with pytest.raises(GraphFormatError, match="was changed since"):
        Kept.from_row(row)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "a list; expected an object"),
        ('{"name": "x"}', "pattern"),
        ('{"no": 1}', "expected the"),
    ],
)
def test_what_is_no_record_is_refused(text, message):
    with pytest.raises(GraphFormatError, match=message):
        read_kept(text)


def test_csv_has_one_row_a_prompt(kept):
    [row] = csv.DictReader(io.StringIO(write_kept(kept, "csv")))
    assert (row["slug"], row["found"], json.loads(row["roles"])) == ("small", "True", {"city": "Dallas"})
    assert float(row["flow"]) == pytest.approx(0.5)


def test_graphml_is_read_by_networkx_as_the_same_circuit(kept):
    graph = nx.parse_graphml(write_kept(kept, "graphml"))
    assert {graph.nodes[node]["label"] for node in graph} == {"Dallas", "Texas", "Austin", "state"}
    assert sorted(share for *_, share in graph.edges.data("share")) == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert graph.graph["pattern"] == PATTERN


def test_svg_draws_every_node_and_link_and_escapes_labels(kept):
    odd = replace(kept, nodes=(*kept.nodes, KeptNode("x", "<b>&", 0)))
    root = ElementTree.fromstring(write_kept(odd, "svg"))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}path")) == len(odd.links)
    assert len(root.findall(f"{space}g/{space}rect")) == len(odd.nodes)
    assert "<b>&" in {text.text for text in root.iter(f"{space}text")}


def test_what_inhibits_is_dashed():
    nodes = (KeptNode("a", "a", 0), KeptNode("b", "b", 1), KeptNode("c", "c", 2))
    kept = Kept("x", "a -> b", nodes=nodes, links=(KeptLink("a", "b", 0.5, 1.0), KeptLink("b", "c", 0.5, -1.0)))
    lines = [line for line in write_kept(kept, "svg").splitlines() if line.startswith("<path")]
    assert ['class="against"' in line for line in lines] == [False, True]
    assert ".against{stroke:#b83232;stroke-dasharray" in write_kept(kept, "svg")


def test_a_link_of_several_graphs_has_its_mean_share():
    nodes = [(FEATURE, 1, "Texas"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    found = [
        find_circuit(
            parse_pattern("Dallas -> Texas -> Austin"), make_graph(nodes, {(1, 0): 1.0, (0, 2): x, (1, 2): 1.0})
        )
        for x in (1.0, 3.0)
    ]
    drawn_nodes, links = picture([circuit for circuit in found if circuit])
    assert [node.label for node in drawn_nodes] == ["Dallas", "Texas", "Austin"]
    assert [link.share for link in links] == pytest.approx([1.0, 0.625])


def test_an_unknown_format_is_refused(kept):
    with pytest.raises(SettingError, match="'pdf' is unknown"):
        write_kept(kept, "pdf")  # type: ignore[arg-type]
