"""The commands across prompts, run as they are typed: sets from tables and queries, partial results, bad input."""

import json
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest

import circuits.promptset
from app.cli import main
from circuits.compare import compare
from circuits.flow import flow
from circuits.mining import Mining
from circuits.pattern import match, parse_pattern
from ingest.library import default_library
from tests.app.graphs import capital_graph

PLACES = [("Dallas", "Texas", "Austin"), ("Oakland", "California", "Sacramento"), ("Miami", "Florida", "Tallahassee")]
PATTERN = "{city} -> {state} -> {answer}"


@pytest.fixture(scope="module")
def own_library(tmp_path_factory):
    """A library in which no other test has edited labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHLINE_LIBRARY", str(tmp_path_factory.mktemp("library")))
        yield


@pytest.fixture(scope="module")
def graphs(empty_store, own_library):
    """Three graphs in library and database."""
    made = [capital_graph(*place) for place in PLACES]
    for graph in made:
        default_library().add(graph)
        empty_store.add(graph)
    return made


@pytest.fixture
def table(graphs, tmp_path):
    """The set of the three prompts as CSV."""
    rows = [
        {"graph_id": graph.graph_id, "city": city, "state": state, "answer": answer, "template": "1", "side": side}
        for graph, (city, state, answer), side in zip(graphs, PLACES, ("south", "west", "south"), strict=True)
    ]
    path = tmp_path / "capitals.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def run(capsys, *words, code=0):
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    seen = capsys.readouterr()
    assert left.value.code == code, seen.err
    return seen


def printed(capsys, *words):
    return json.loads(run(capsys, *words, "--format", "json").out)


def test_a_set_is_searched_prompt_by_prompt_with_its_own_roles(graphs, table, capsys):
    told = printed(capsys, "circuits", PATTERN, "--set", table)
    assert told["summary"]["n"] == told["summary"]["found"] == 3
    for graph, place, row in zip(graphs, PLACES, told["prompts"], strict=True):
        roles = {role: [text] for role, text in zip(("city", "state", "answer"), place, strict=True)}
        assert row["flow"] == pytest.approx(flow(graph, match(parse_pattern(PATTERN, roles), graph)))
    assert {each["null"] for each in told["chance"]} == {"other entities", "shuffled answers", "rewired"}
    for format in ("table", "csv"):
        assert graphs[0].graph_id in run(capsys, "circuits", PATTERN, "--set", table, "--format", format).out


def test_a_set_may_be_parquet_some_rows_of_a_table_and_a_query(graphs, table, tmp_path, capsys):
    pd.read_csv(table).to_parquet(tmp_path / "capitals.parquet")
    query = "MATCH (g:Graph) WHERE g.prompt CONTAINS 'the' RETURN g.graph_id AS graph_id, 'Texas' AS state"
    (tmp_path / "capitals.cypher").write_text(f"// all\n{query}")
    whole = printed(capsys, "circuits", PATTERN, "--set", table)["summary"]
    assert printed(capsys, "circuits", PATTERN, "--set", tmp_path / "capitals.parquet")["summary"] == whole
    some = printed(capsys, "circuits", PATTERN, "--set", f"{table}[side=south, state=Florida]")
    assert [row["graph_id"] for row in some["prompts"]] == [graphs[2].graph_id]
    for name in (query, tmp_path / "capitals.cypher"):
        told = printed(capsys, "circuits", "* -> {state} -> *", "--set", name)
        assert Counter(row["found"] for row in told["prompts"]) == {True: 1, False: 2}


def test_flow_that_is_too_small_fails_at_a_waypoint(table, capsys):
    told = printed(capsys, "circuits", PATTERN, "--set", table, "--needed", "0.9")
    assert told["summary"]["found"] == 0 and "less than 0.9" in told["prompts"][0]["reason"]


def test_mining_reads_a_set_and_names_what_a_circuit_goes_with(table, capsys):
    rows = printed(capsys, "mine", "--set", table, "--sizes", "3", "4", "--entity", "city")
    assert rows and all(3 <= row["size"] <= 4 and row["support"] <= 3 and "city_q" in row for row in rows)
    assert run(capsys, "mine", "--set", f"{table}[side=south]", "--format", "csv").out.startswith("size,support")


@pytest.mark.parametrize("by, said", [("supernode", "supernodes suggest GRAPH"), ("label", "Ask for less support")])
def test_where_nothing_recurs_mining_says_what_to_do(table, by, said, capsys):
    told = run(capsys, "mine", "--set", table, "--by", by, "--sizes", "6", "6", "--support", "1", "--format", "json")
    assert json.loads(told.out) == [] and "No circuit of 6 to 6 nodes" in told.err and said in told.err


def test_two_prompts_are_put_beside_others_of_their_dictionary_as_on_the_page(graphs, table, capsys):
    told = printed(capsys, "compare", graphs[0].graph_id, graphs[1].graph_id)
    assert told["similarity"] == compare(graphs[:1], graphs[1:2], among=graphs[2:]).as_row()["similarity"]
    assert told["similarity"]["nodes"]["n"] > 0


def test_groups_are_compared_whether_named_by_graph_folder_or_set(graphs, table, tmp_path, capsys):
    for graph in graphs:
        graph.save(str(tmp_path / "all" / graph.metadata.slug))
    words = ("compare", graphs[0].graph_id, graphs[1].metadata.slug, "--among", "none")
    one, two = printed(capsys, *words), compare(graphs[:1], graphs[1:2])
    assert one["counts"] == two.counts()
    told = printed(capsys, "compare", f"{table}[side=south]", f"{table}[side=west]", "--by", "label")
    assert told["counts"] == compare([graphs[0], graphs[2]], [graphs[1]], "label").counts()
    told = printed(capsys, "compare", table, tmp_path / "all")
    assert told["similarity"]["links"]["weighted"] == pytest.approx(1)
    for format in ("table", "csv"):
        assert run(capsys, "compare", graphs[0].graph_id, graphs[1].graph_id, "--format", format).out


def test_ctrl_c_leaves_what_was_found_and_says_that_it_is_partial(graphs, table, monkeypatch, capsys):
    seen, look = [], circuits.promptset.look

    def interrupted(*asked):
        seen.append(asked)
        if len(seen) > 2:
            raise KeyboardInterrupt
        return look(*asked)

    monkeypatch.setattr(circuits.promptset, "look", interrupted)
    told = run(capsys, "circuits", PATTERN, "--set", table, "--format", "json", code=130)
    assert len(json.loads(told.out)["prompts"]) == 2
    assert "Partial: 2 of 3 prompts were searched" in told.err and "Partial" in json.loads(told.out)["partial"]


def test_ctrl_c_in_mining_leaves_the_circuits_with_what_was_counted(graphs, table, monkeypatch, capsys):
    step, seen = Mining.step, []

    def interrupted(mining):
        seen.append(mining)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return step(mining)

    whole = run(capsys, "mine", "--set", table, "--format", "json")
    monkeypatch.setattr(Mining, "step", interrupted)
    told = run(capsys, "mine", "--set", table, "--format", "json", code=130)
    assert "Partial: chance was counted in 2 of 5 dealt tables." in told.err
    names = [[row["circuit"] for row in json.loads(each.out)] for each in (whole, told)]
    assert names[0] == names[1] and names[0]


def test_ctrl_c_in_a_search_of_all_graphs_likewise(graphs, monkeypatch, capsys):
    load, seen = type(default_library()).outline, []

    def interrupted(library, graph_id):
        seen.append(graph_id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return load(library, graph_id)

    monkeypatch.setattr("ingest.library.Library.outline", interrupted)
    told = run(capsys, "circuits", "* -> *", "--format", "json", code=130)
    assert len(json.loads(told.out)) == 2 and "Partial: 2 of 3 graphs were searched." in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["circuits", "Dalas -> Texas"], "Nearest: Dallas (in dallas-demo)"),
        (["circuits", "Dallas -> Texsa -> Austin"], "Nearest: Texas (in dallas-demo)"),
        (["circuits", "Dallas -> 1/444 -> Austin"], "fits waypoint 2, 1/444. Nearest: 1/4"),
        (["compare", "nowhere", "nowhere"], "nowhere: nothing is there"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest_things(graphs, words, said, capsys):
    seen = run(capsys, *words, code=2 if words[0] == "compare" else 0)
    assert said in " ".join(seen.err.split())


@pytest.mark.parametrize(
    ("pattern", "rows", "said"),
    [
        ("20/1 -> 3/4", None, "each link goes to a higher layer, so no path goes from one to the other"),
        ("{city} -> {county}", None, "role {county} is unknown; there are {answer}, {city}, {side}, {state}"),
        ("{city} -> ", None, "waypoint 2 of 2 is empty"),
        (PATTERN, "[side=north]", "no row has 'north' in column side; expected one of its values, such as south"),
        (PATTERN, "[color=red]", "has no column 'color'; expected one of graph_id, city, state, answer"),
        (PATTERN, "[side]", "'side' chooses no rows; expected column=value"),
    ],
)
def test_bad_patterns_and_sets_are_one_sentence(table, pattern, rows, said, capsys):
    seen = run(capsys, "circuits", pattern, "--set", f"{table}{rows or ''}", code=2)
    assert said in " ".join(seen.err.split()) and seen.out == "" and "Traceback" not in seen.err


def test_a_set_with_missing_roles_and_one_that_is_none_are_refused(graphs, table, tmp_path, capsys):
    frame = pd.read_csv(table)
    frame.assign(state=["Texas", "", ""]).to_csv(tmp_path / "lacking.csv", index=False)
    said = run(capsys, "circuits", PATTERN, "--set", tmp_path / "lacking.csv", code=2).err
    assert "role {state} is empty in 2 of 3 rows (row 2, 3)" in " ".join(said.split())
    frame.drop(columns="graph_id").to_csv(tmp_path / "nameless.csv", index=False)
    assert "does not say which graph it is of" in run(capsys, "mine", "--set", tmp_path / "nameless.csv", code=2).err
    for name in (tmp_path / "gone.csv", tmp_path / "gone.cypher", "MATCH (g) DELETE g"):
        assert run(capsys, "mine", "--set", name, code=2).out == ""


def test_graphs_of_different_dictionaries_are_refused_or_aligned_by_label(graphs, table, tmp_path, capsys):
    other = replace(graphs[1], metadata=replace(graphs[1].metadata, source_set="another"))
    other.save(str(tmp_path / "other"))
    frame = pd.read_csv(table)[["graph_id", "city", "state", "answer", "template"]]
    frame.assign(graph_id=[graphs[0].graph_id, tmp_path / "other", graphs[2].graph_id]).to_csv(
        tmp_path / "mixed.csv", index=False
    )
    asked = ["circuits", PATTERN, "--set", tmp_path / "mixed.csv"]
    assert "or align by label" in run(capsys, *asked, code=2).err
    assert printed(capsys, *asked, "--align", "label")["summary"]["found"] == 3
    named = run(capsys, "circuits", "{city} -> 1/4", "--set", tmp_path / "mixed.csv", "--align", "label", code=2).err
    assert "Write the feature's label." in named
    for words in (["compare", graphs[0].graph_id, tmp_path / "other"], ["mine", "--set", tmp_path / "mixed.csv"]):
        assert "dictionaries" in run(capsys, *words, code=2).err
        assert run(capsys, *words, "--by", "label").out
