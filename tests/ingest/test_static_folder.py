"""The folder of Anthropic's front end: what it looks for is there under the names it asks by, for several graphs."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from ingest.library import Library
from ingest.load import graph_places, ingest_paths
from ingest.writers import write_graph
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph, GraphMetadata


def two_hops(slug: str, activation: float = 2.0) -> AttributionGraph:
    """x -> seven -> y, pinned, in two tokens."""
    nodes = pd.DataFrame(
        {"node_id": ["1_7_1", "E_5_0", "3_9_1"], "kind": ["feature", "token", "logit"], "layer": [1, -1, 2],
         "position": [1, 0, 1], "index": [7, 5, 9], "label": ["seven", " x", " y"],
         "activation": [activation, np.nan, np.nan], "influence": [0.25, 0.75, 1.0],
         "probability": [np.nan, np.nan, 0.5]}
    )  # fmt: skip
    marks = {"pins": ["1_7_1"], "supernodes": [{"label": "group", "members": ["1_7_1", "E_5_0"]}]}
    about = GraphMetadata(slug, " x of", (" x", " of"), "model", "model/set", n_layers=2, provenance=marks)
    return AttributionGraph.build(nodes, np.array([1, 0]), np.array([0, 2]), np.array([2.0, -1.0]), about)


def content(folder, name):
    return json.loads((folder / name).read_text())


def test_the_front_end_finds_graphs_features_and_marks_by_its_own_names(tmp_path):
    write_graph(two_hops("first"), tmp_path, "anthropic")
    (listed,) = content(tmp_path, "data/graph-metadata.json")["graphs"]
    assert (listed["slug"], listed["scan"], listed["prompt"]) == ("first", "model/set", " x of")
    graph = content(tmp_path, "graph_data/first.json")
    by_js_id = {node["jsNodeId"]: node for node in graph["nodes"]}
    assert list(by_js_id) == ["1_7_-0", "E_5_-1", "3_9_-0"]  # positions from the end
    assert graph["qParams"]["pinnedIds"] == ["1_7_-0"]
    assert graph["qParams"]["supernodes"] == [["group", "1_7_-0", "E_5_-1"]]
    number = by_js_id["1_7_-0"]["feature"]
    feature = content(tmp_path, f"features/{listed['scan']}/{number}.json")
    (quantile,) = feature["examples_quantiles"]
    assert feature["index"] == number and feature["act_max"] == 2.0
    assert quantile["examples"] == [{"slug": "first", "tokens": [" x", " of"], "tokens_acts_list": [0.0, 2.0]}]
    assert "(p=0.500)" in by_js_id["3_9_-0"]["clerp"]  # which it reads the probability from


def test_graphs_stand_beside_each_other_and_one_written_again_is_replaced(tmp_path):
    for graph in (two_hops("first"), two_hops("second", 3.0), two_hops("first")):
        write_graph(graph, tmp_path, "anthropic")
    assert [each["slug"] for each in content(tmp_path, "data/graph-metadata.json")["graphs"]] == ["second", "first"]
    (feature,) = (tmp_path / "features" / "model" / "set").iterdir()
    (quantile,) = json.loads(feature.read_text())["examples_quantiles"]
    assert [each["tokens_acts_list"][1] for each in quantile["examples"]] == [3.0, 2.0]


def test_another_graph_of_the_same_name_takes_no_file_away(tmp_path):
    first, other = two_hops("same"), two_hops("same", 3.0)
    for graph in (first, other):
        write_graph(graph, tmp_path, "anthropic")
    reports = list(ingest_paths([tmp_path], None, Library(tmp_path / "library")))
    assert {report.graph_id for report in reports} == {first.graph_id, other.graph_id}
    assert {report.slug for report in reports} == {"same"}


def test_the_folder_is_taken_in_as_it_is_and_in_an_archive(tmp_path):
    site = tmp_path / "site"
    write_graph(two_hops("first"), site, "anthropic")
    assert graph_places(tmp_path) == [site / "graph_data" / "first.json"]
    with zipfile.ZipFile(tmp_path / "site.zip", "w") as archive:
        for path in sorted(site.rglob("*.json")):
            archive.write(path, path.relative_to(tmp_path))
        archive.writestr("beside.json", "{}")
    places = graph_places(tmp_path / "site.zip")
    assert [str(place) for place in places] == [
        f"{tmp_path}/site.zip/{name}" for name in ("beside.json", "site/graph_data/first.json")
    ]


def test_a_folder_with_other_things_in_it_is_left_as_it_is(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "graph-metadata.json").write_text("[]")
    with pytest.raises(GraphFormatError, match="expected an object with the list `graphs`"):
        write_graph(two_hops("first"), tmp_path, "anthropic")
    assert [path.name for path in tmp_path.rglob("*.json")] == ["graph-metadata.json"]
