"""Every .cypher header tells the truth about its query."""

import json
import re

import pytest

from ingest.queries import CYPHER_DIR, Param, read_queries, read_query
from tracer.errors import GraphFormatError, QueryError

QUERIES = read_queries()


def body_of(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("//"))


def last_clause(text: str) -> str:
    """What stands after the last RETURN outside every brace."""
    depth, starts = 0, [0]
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if depth == 0 and re.match(r"\bRETURN\b", text[at:]):
            starts.append(at)
    return text[starts[-1] :]


@pytest.mark.parametrize("stem", QUERIES)
def test_header_matches_query(stem):
    query = QUERIES[stem]
    body = body_of(query.text)
    assert query.name == stem
    assert query.purpose.strip()
    assert {param.name for param in query.params} == set(re.findall(r"\$(\w+)", body))
    if query.access == "schema":
        assert not query.returns
        return
    columns = re.findall(r"\bAS (\w+)|[,\s](\w+)(?=\s*(?:,|\n|$))", last_clause(body).split("ORDER BY")[0])
    names = [first or second for first, second in columns]
    assert [column.name for column in query.returns] == names


@pytest.mark.parametrize("stem", QUERIES)
def test_access_is_that_of_the_folder(stem):
    query = QUERIES[stem]
    writes = re.search(r"\b(CREATE|MERGE|SET|DELETE|REMOVE|DROP)\b", body_of(query.text)) is not None
    expected = {"schema": "schema", "explore": "read"}.get(query.kind, "write" if writes else "read")
    assert query.access == expected
    assert writes == (query.access != "read")


def test_names_are_unique_over_all_folders():
    assert len(QUERIES) == len(list(CYPHER_DIR.glob("*/*.cypher")))


def test_parameters_are_converted_to_their_types():
    query = QUERIES["circuits_through"]
    bound = query.bind({"terms": '["Dallas", "Austin"]', "min_share": "0.5"})
    assert bound == {"terms": ["Dallas", "Austin"], "min_share": 0.5, "limit": 50}
    assert query.bind({"terms": "Dallas -> Texas -> Austin"})["terms"] == ["Dallas", "Texas", "Austin"]
    assert query.bind({"terms": "Dallas, Austin"})["terms"] == ["Dallas", "Austin"]


@pytest.mark.parametrize(
    ("kind", "value"), [("integer", "many"), ("integer", 1.5), ("float", ""), ("boolean", "maybe"), ("list<string>", 3)]
)
def test_a_value_of_another_type_is_refused_with_both(kind, value):
    with pytest.raises(QueryError) as caught:
        Param("p", kind, "").read(value)
    assert "$p" in str(caught.value) and repr(value) in str(caught.value) and "expected" in str(caught.value)


def test_a_missing_or_unknown_parameter_is_refused_with_those_that_exist():
    with pytest.raises(QueryError, match=r"lacks \$graph_id; expected .*\$graph_id string.*\$limit integer = 10"):
        QUERIES["strongest_sources"].bind({"node_id": "x"})
    with pytest.raises(QueryError, match=r"has no parameter \$nod"):
        QUERIES["strongest_sources"].bind({"nod": "x"})


def test_a_header_that_lacks_a_key_is_refused(tmp_path):
    path = tmp_path / "poor.cypher"
    path.write_text("// name: poor\n// purpose: nothing?\nRETURN 1 AS one\n")
    with pytest.raises(GraphFormatError, match="lacks params, returns, access"):
        read_query(path)


def test_a_default_is_read_as_json():
    param = {param.name: param for param in QUERIES["circuits_through"].params}["min_share"]
    assert param.default == 0.01 and not param.required
    assert json.loads(json.dumps(param.default)) == param.default
