"""A graph in a notebook: the tables and networkx hold what it holds, and its HTML holds no text that acts."""

from html.parser import HTMLParser

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.made_graphs import explaining_a_feature, large_graph, make_graph
from tracer.display import DRAWN_EDGES, DRAWN_NODES
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

ALLOWED = {
    "div": {"style"}, "p": set(), "b": set(), "br": set(), "table": {"style"}, "tr": set(), "bdi": set(),
    "th": {"style"}, "td": {"style"}, "title": set(),
    "svg": {"xmlns", "width", "height", "viewbox", "role", "aria-label"},
    "line": {"x1", "y1", "x2", "y2", "stroke", "stroke-width", "opacity"},
    "circle": {"cx", "cy", "r", "fill"},
    "text": {"x", "y", "font-size", "text-anchor", "fill"},
}  # fmt: skip
NASTY = ["<script>alert(1)</script>", "</title><img src=x onerror=alert(1)>", '" onload="x', "&lt;b&gt;", "‮abc", "\x00"]


class Page(HTMLParser):
    """Collects tags and their text, and refuses what is not on the list."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED and {name for name, _ in attrs} <= ALLOWED[tag], (tag, attrs)
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in ("br", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_networkx_has_the_edges_in_the_direction_of_effects():
    graph = make_graph(4)
    made, ids, edges = graph.to_networkx(), graph.nodes["node_id"].tolist(), graph.edges
    assert list(made) == ids and made.number_of_edges() == len(edges)
    for source, target, effect, share in zip(edges.source, edges.target, edges.effect, edges.share, strict=True):
        data = made.edges[ids[source], ids[target]]
        assert (data["effect"], data["share"]) == (pytest.approx(effect), pytest.approx(share))
    assert networkx.is_directed_acyclic_graph(made)
    assert "activation" not in made.nodes[ids[-1]] and made.graph["graph_id"] == graph.graph_id
    outputs = [node for node, data in made.nodes(data=True) if data["kind"] == NodeKind.LOGIT]
    assert outputs == ids[graph.slice_of(NodeKind.LOGIT)]


def test_pandas_tables_name_ends_by_id_and_do_not_change_the_graph():
    graph = make_graph(4)
    nodes, edges = graph.to_pandas()
    assert nodes.equals(graph.nodes) and len(edges) == len(graph.edges)
    total = np.array(edges.groupby("target")["share"].sum())
    assert np.allclose(total, 1) and set(edges["target"]) <= set(nodes["node_id"])
    nodes["label"] = "changed"
    assert "changed" not in set(graph.nodes["label"])


def test_the_page_shows_prompt_scores_outputs_and_features():
    graph = make_graph(4)
    page = Page(graph._repr_html_())
    text = " ".join(page.texts)
    assert graph.metadata.prompt in text and "replacement score 0.500" in text and graph.graph_id in text
    influence = graph.nodes["influence"].to_numpy()[graph.slice_of(NodeKind.FEATURE)]
    top = graph.nodes.iloc[int(influence.argmax())]
    assert f"{top['influence']:.3f}" in text and f"{top['layer']}/{top['index']}" in text
    assert page.counts["circle"] == page.counts["title"] == graph.nodes["kept"].tolist().count(True)


def test_the_page_says_which_features_are_explained():
    graph = explaining_a_feature()
    (row,) = np.flatnonzero(graph.nodes["probability"] == 1)
    node = graph.nodes.iloc[int(row)]
    text = " ".join(Page(graph._repr_html_()).texts)
    after = text.split("explained feature")[1]
    assert f"{node['layer']}/{node['index']} {node['position']} {node['activation']:.3g}" in " ".join(after.split())
    assert "explained feature" not in make_graph(1)._repr_html_()


def test_an_output_without_probability_has_none_on_the_page():
    graph = make_graph(1)
    graph.nodes["probability"] = np.nan
    assert "nan" not in graph._repr_html_()


def test_a_large_graph_is_drawn_as_its_most_important_part():
    page = Page(large_graph()._repr_html_())
    assert page.counts["circle"] <= 2 * DRAWN_NODES and page.counts["line"] <= DRAWN_EDGES


@settings(max_examples=40, deadline=None)
@given(text=st.sampled_from(NASTY) | st.text(max_size=80))
def test_no_text_of_a_graph_becomes_markup(text):
    graph = make_graph(1, prompt=text)
    graph.nodes["label"] = text
    object.__setattr__(graph.metadata, "model", text)
    page = Page(graph._repr_html_())
    assert page.counts["svg"] == 1


def test_a_graph_without_features_or_edges_is_shown_too():
    graph = make_graph(1)
    nodes = graph.nodes.iloc[graph.slice_of(NodeKind.TOKEN).start : graph.slice_of(NodeKind.LOGIT).stop]
    empty = np.array([], np.int32)
    alone = AttributionGraph.build(nodes, empty, empty, empty, graph.metadata)
    assert Page(alone._repr_html_()).counts["circle"] == len(nodes)
