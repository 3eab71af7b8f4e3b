"""Files of Anthropic's front end: opaque numbers, outputs right above the last layer, no influence."""

from tests.ingest.graph_documents import (
    anthropic,
    repairs,
)


def test_a_file_of_anthropic_is_read(read):
    graph = read(anthropic())
    assert graph.metadata.origin == "anthropic"
    assert graph.metadata.n_layers == 3
    assert graph.metadata.source_set == "tiny"
    assert graph.metadata.provenance["pins"] == ["2_70707070_2"]
    assert graph.metadata.provenance["supernodes"] == [{"label": "Texas", "members": ["2_70707070_2"]}]
    error = graph.nodes.set_index("node_id").loc["0_55443322_2"]
    assert (error["kind"], error["layer"], error["index"]) == ("error", 0, -1)
    assert repairs(graph) == {}
