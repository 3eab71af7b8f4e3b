"""Circuits that are known to be in published graphs are found in them by our own queries."""

from pathlib import Path

import pytest

from ingest.library import Library
from ingest.load import ingest_paths
from ingest.search import search_circuits

RAW = Path(__file__).parents[3] / "shared" / "graphs" / "raw"

pytestmark = pytest.mark.skipif(
    not RAW.exists(), reason=f"no published graphs in {RAW}; test_explore and test_search prove the same on made ones"
)

WALKS = [  # file, texts, nodes of the walk or of its middle, effects: the table of graphs/README.md
    ("peppinob-ol/*5aafe0c2.json", ["Dallas", "Texas", "Austin"], "20_15589_10", [43.26, 5.31]),
    ("peppinob-ol/*5aafe0c2.json", ["Dallas", "16_25", "Austin"], "16_25_9", [28.95, 1.61]),
    ("peppinob-ol/*8dff696c.json", ["Dallas", "20_44686", "Austin"], "20_44686", None),
    ("peppinob-ol/*99a8b35b.json", ["Oakland", "19_24018", "Sacramento"], "19_24018", [3.3, 3.0]),
]


@pytest.mark.parametrize(("pattern", "terms", "middle", "effects"), WALKS)
def test_the_known_walk_is_found(store, tmp_path, pattern, terms, middle, effects):
    (path,) = RAW.glob(pattern)
    library = Library(tmp_path)
    (report,) = ingest_paths([path], store, library)
    assert report.status == "ingested", report.reason
    (row,) = store.run("circuits_through", terms=terms, min_share=0.001).records
    assert row["graph_id"] == report.graph_id and row["strength"] > 0
    text = """
        MATCH (a:Token {graph_id: $graph_id})-[e:AFFECTS]->(b)-[f:AFFECTS]->(c:Logit)
        WHERE a.label CONTAINS $start AND b.node_id STARTS WITH $middle AND c.label CONTAINS $end
        RETURN e.effect AS first, f.effect AS second ORDER BY e.share * f.share DESC LIMIT 1
    """
    values = {"graph_id": report.graph_id, "start": terms[0], "middle": middle, "end": terms[-1]}
    (walk,) = store.cypher(text, values).records
    assert walk["first"] > 0 and walk["second"] > 0
    if effects:
        assert [walk["first"], walk["second"]] == pytest.approx(effects, abs=0.06)
    (circuit,) = search_circuits(" -> ".join(terms), store, library)
    assert circuit.flow >= row["strength"] * 0.999


def test_the_strongest_path_over_dallas_and_texas_is_the_one_in_the_table(store, tmp_path):
    (path,) = RAW.glob("peppinob-ol/*5aafe0c2.json")
    list(ingest_paths([path], store, Library(tmp_path)))
    (row,) = store.run("circuits_through", terms=["Dallas", "Texas", "Austin"]).records
    assert row["node_ids"] == ["E_26865_9", "20_15589_10", "27_22605_10"]
    assert row["effects"] == pytest.approx([43.26, 5.31], abs=0.01)
