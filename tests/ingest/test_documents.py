"""JSON is read piece by piece and means the same as read at once, however it is cut."""

import io
import json
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import documents
from ingest.documents import Document, _read_object, _Text
from ingest.readers import read_graph_file

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def read(text: bytes, at_once: int) -> tuple[dict, list]:
    """(root, items of the list `links`), from a file that gives this many bytes at a time."""
    items: list = []
    raw = io.BytesIO(text)

    class Slow:
        def read(self, _):
            return raw.read(at_once)

    document = Document("x.json", {})
    _read_object(_Text(Slow(), Counter()), document, {"links": lambda _: items.append})  # type: ignore[arg-type]
    return document.root, items


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "nodes"]), VALUES),
    st.lists(VALUES, max_size=5),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_pieces_give_what_the_whole_gives(root, links, at_once, indent, ascii):
    text = json.dumps(root | {"links": links}, indent=indent, ensure_ascii=ascii).encode()
    found, items = read(text, at_once)
    assert items == links
    assert {name: value for name, value in found.items() if name != "links"} == root


@pytest.mark.parametrize("at_once", [1, 7, 1000])
@pytest.mark.parametrize(
    ("text", "n", "root"),
    [
        (b'{"a": 1, "a": 2, "b": {"a": 3}}', 1, {"a": 2, "b": {"a": 3}}),
        (
            b'{"a": [{"x": 1, "x": 2, "x": 3}, {"x": 1, "y": 2}], "b": 0}',
            2,
            {"a": [{"x": 3}, {"x": 1, "y": 2}], "b": 0},
        ),
        (b'{"a": 1, "b": 1}', 0, {"a": 1, "b": 1}),
    ],
)
def test_values_of_one_name_are_counted_and_the_later_one_counts(text, n, root, at_once):
    document, raw = Document("x.json", {}), io.BytesIO(text)

    class Slow:
        def read(self, _):
            return raw.read(at_once)

    _read_object(_Text(Slow(), document.repairs), document, {})  # type: ignore[arg-type]
    assert document.root == root and document.repairs["repeated_names"] == n


@pytest.mark.parametrize(
    "text, said",
    [
        (b'{"a": 1', "expected , or }"),
        (b'{"a": 1}x', "after the end"),
        (b'{"links": [1 2]}', "expected , or ]"),
        (b'{"links": [1,]}', "Expecting value"),
        (b'{a: 1}', "expected \""),
        (b'{"a" 1}', "expected :"),
        (b'{"a": 1,}', "expected \""),
        (b'{"a": "x}', "Unterminated string"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_broken_json_is_refused_at_its_place(text, said, at_once):
    with pytest.raises(ValueError) as refused:
        read(text, at_once)
    assert said in str(refused.value)


def test_a_large_file_needs_a_fraction_of_its_size_in_memory(tmp_path):
    n_nodes, n_links = 400, 60_000
    path = tmp_path / "large.json"
    nodes = [
        {"node_id": f"{at % 20}_{at}_0", "feature_type": "cross layer transcoder", "layer": str(at % 20), "ctx_idx": 0}
        for at in range(n_nodes)
    ]
    nodes.append({"node_id": "21_5_0", "feature_type": "logit", "layer": "21", "ctx_idx": 0, "token_prob": 1.0})
    with path.open("w") as out:
        about = {"scan": "tiny", "prompt_tokens": ["x"], "prompt": "x"}
        out.write(f'{{"metadata": {json.dumps(about)}, "nodes": {json.dumps(nodes)}, "links": [')
        made = 0
        for source in range(n_nodes):
            for target in range(n_nodes):
                if source % 20 < target % 20 and made < n_links:
                    ends = f'"source": "{source % 20}_{source}_0", "target": "{target % 20}_{target}_0"'
                    out.write(f'{", " if made else ""}{{{ends}, "weight": {1 + made / 7}, "padding": "{"x" * 60}"}}')
                    made += 1
        out.write("]}")
    size = path.stat().st_size
    read_graph_file(path)  # what is imported on first use does not count
    tracemalloc.start()
    graph = read_graph_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(graph.edges) == n_links
    assert peak < 1.5 * size + 4 * documents.AT_ONCE
