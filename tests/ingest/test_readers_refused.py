"""Files that nobody could read: refused with sight and remedy, whatever is wrong with them."""

import copy
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers import read_graph_file
from ingest.repairs import REPAIRS
from tests.ingest.graph_documents import (
    Json,
    anthropic,
    circuit_tracer,
    crm,
    link,
    one_name_for_two,
    repairs,
)
from tracer.errors import GraphFormatError


def read_or_refused(path: Path) -> None:
    """Reads the file; a refusal is fine if it names the file, and a graph if it is whole."""
    try:
        graph = read_graph_file(path)
    except GraphFormatError as refused:
        assert str(refused).startswith(path.name)
        return
    assert set(repairs(graph)) <= set(REPAIRS)
    assert not graph.metadata.complete
    influence = graph.nodes["influence"].to_numpy()
    assert ((influence >= 0) & (influence <= 1)).all()
    json.dumps(graph.metadata.provenance)


# ---------------------------------------------------------------------------------------------------- what is refused


def change(**changes: Any) -> Json:
    """A good document with one node changed."""
    document = circuit_tracer()
    document["nodes"][5] |= changes
    return document


def weighing(weight: Any) -> Json:
    """A document with one link, of this weight."""
    return circuit_tracer() | {"links": [link("1_7_2", "4_11_2", weight)]}


@pytest.mark.parametrize(
    "document, message",
    [
        (b"", "not JSON"),
        (b'{"nodes": [', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"\x1f\x8b broken", "broken gzip"),
        (b"[" * 100_000, "nested more than a thousand deep"),
        ([1, 2], "a JSON list; expected an object"),
        ({"nodes": []}, "no `metadata`; expected the name of the model"),
        ({"metadata": {"scan": 7}}, "`metadata.scan` is 7"),
        (circuit_tracer() | {"nodes": []}, "no nodes; expected at least one"),
        (circuit_tracer() | {"nodes": [3]}, "`nodes`: 3; expected a list of objects"),
        (circuit_tracer() | {"links": None}, "`links`: None; expected a list of objects"),
        (change(node_id=None), "a node with the node_id None; expected a text"),
        (change(node_id="texas"), "a feature has the node_id 'texas'; expected the form layer_index_position"),
        (change(feature_type="molt"), "the feature_type 'molt'; expected one of cross layer transcoder, mlp"),
        (change(feature_type=None), "node '1_7_2' has the feature_type None"),
        (change(activation="much"), "activation of 1_7_2 is 'much'; expected a finite number"),
        (change(activation="1_0"), "activation of 1_7_2 is '1_0'; expected a finite number"),
        (change(activation="٣"), "activation of 1_7_2 is '٣'; expected a finite number"),
        (weighing("1_0"), "is '1_0'; expected a finite number"),
        (change(activation=True), "activation of 1_7_2 is True; expected a finite number"),
        (change(activation=1e39), "activation of 1_7_2 is 1e+39; expected a finite number"),
        (change(clerp=["Texas"]), "clerp of 1_7_2 is ['Texas']; expected a text"),
        (change(layer="E"), "the layer of 1_7_2 is 'E'; expected a number from 0"),
        (change(node_id="5000_7_2", layer="5000"), "5001 layers; expected at most 1000"),
        (change(node_id="1_7_3"), "a node at position 3 of a prompt with 3 tokens"),
        (
            circuit_tracer() | {"links": [link("1_7_2", "4_11_2", None)]},
            "the weight from '1_7_2' to '4_11_2' is missing",
        ),
        (circuit_tracer() | {"links": [link("1_7_2", "4_11_2", math.nan)]}, "is nan; expected a finite number"),
        (circuit_tracer() | {"links": [{"source": "1_7_2", "weight": 1}]}, "a link with the target None"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_not_understood_is_refused_with_file_sight_and_remedy(read, document, message):
    with pytest.raises(GraphFormatError) as refused:
        read(document)
    text = str(refused.value)
    assert text.startswith("given.json: ") and message in text
    assert "expected" in text and text.endswith(".")


def test_a_file_that_is_not_there_is_refused_by_its_path(tmp_path):
    with pytest.raises(GraphFormatError, match=r"nowhere.json: cannot be read .*; expected a graph in JSON"):
        read_graph_file(tmp_path / "nowhere.json")
    with pytest.raises(GraphFormatError, match="cannot be read"):
        read_graph_file(tmp_path)


def test_a_probability_beyond_one_is_refused(read):
    document = circuit_tracer()
    document["nodes"][0]["token_prob"] = 75
    with pytest.raises(GraphFormatError, match=r"the probability of 4_11_2 is 75.0; expected 0 to 1"):
        read(document)


# ------------------------------------------------------------------------------------------------------ mutated files

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["E", "-1", "0_5_2", "1_7_2", "1e999", "", "cross layer transcoder", "logit", 10**400, [], {}]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def mutated(draw: st.DrawFn) -> Json:
    """A good document with up to six values replaced, removed or doubled, anywhere in it."""
    document = draw(st.sampled_from([circuit_tracer, anthropic, one_name_for_two, crm]))()
    for _ in range(draw(st.integers(1, 6))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = draw(st.sampled_from(list(keys)))
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and draw(st.integers(0, 3)):
                place = inner
                continue
            how = draw(st.sampled_from(["replace", "remove", "double"]))
            if how == "replace":
                place[key] = draw(ODD_VALUES)
            elif how == "remove":
                del place[key]
            elif isinstance(place, list):
                place.append(copy.deepcopy(inner))
            break
    return document


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_file_is_read_or_refused_and_nothing_else(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_text(json.dumps(document))
    read_or_refused(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_with_damaged_bytes_is_read_or_refused_and_nothing_else(tmp_path_factory, data):
    content = bytearray(json.dumps(circuit_tracer()).encode())
    if data.draw(st.booleans()):
        content = bytearray(gzip.compress(bytes(content), mtime=0))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    read_or_refused(path)
