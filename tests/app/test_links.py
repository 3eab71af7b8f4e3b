"""Addresses say what is shown and asked: whatever a page writes, it reads back."""

from hypothesis import given
from hypothesis import strategies as some

from app import viewlink
from app.ask import Question, join_steps, read_question
from app.params import VIEWS as LOOKS
from app.params import Asked, Blank, blanks_of, names_of, read_asked
from app.viewlink import MODES, START, missing_view, parse_view, read_view, view_params, write_view
from ingest.queries import read_queries

IDS = some.from_regex(r"\A(E|\d{1,2})_\d{1,5}_\d{1,2}\Z")
GROUPS = some.lists(
    some.fixed_dictionaries(
        {
            "name": some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
            "members": some.lists(IDS, max_size=4),
        }
    ),
    max_size=4,
)
VIEWS = some.fixed_dictionaries(
    {
        "sel": some.none() | IDS,
        "pins": some.lists(IDS, max_size=5),
        "groups": some.none() | GROUPS,
        "thr": some.integers(10, 100).map(lambda percent: percent / 100),
        "err": some.booleans(),
        "mode": some.sampled_from(MODES),
    }
)


@given(VIEWS)
def test_a_view_comes_back_from_its_address(view):
    params = view_params("ab12", view)
    assert parse_view(params) == view


def test_a_long_view_is_kept_and_the_address_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_LIBRARY", str(tmp_path))
    address: dict[str, str] = {}
    monkeypatch.setattr(viewlink.st, "query_params", _Params(address))
    view = START | {"sel": "20_7_3", "pins": [f"20_{at}_3" for at in range(400)], "groups": [], "thr": 0.5}
    write_view("ab12", view)
    assert set(address) == {"g", "sel", "thr", "view"}
    assert read_view() == view and missing_view() == ""
    address["view"] = "0" * 12
    assert read_view() == START | {"sel": "20_7_3", "thr": 0.5}
    assert "there is no view '000000000000'" in missing_view()
    write_view("ab12", view | {"pins": ["20_7_3"]})
    assert address == {"g": "ab12", "sel": "20_7_3", "pins": "20_7_3", "groups": "none", "thr": "0.5"}


class _Params:
    """As much of st.query_params as a page needs, over a plain dict."""

    def __init__(self, address: dict[str, str]):
        self.address, self.get, self.to_dict = address, address.get, lambda: dict(address)

    def from_dict(self, params: dict[str, str]) -> None:
        self.address.clear()
        self.address.update(params)


def test_a_broken_address_gives_the_start():
    assert parse_view({"thr": "abc", "mode": "x", "pins": ",,", "err": "yes", "groups": ""}) == START
    assert parse_view({"groups": "none"})["groups"] == parse_view({"groups": "no colon"})["groups"] == []
    assert parse_view({"thr": "nan"})["thr"] == 1.0
    assert parse_view({"thr": "-4"})["thr"] == 0.1


@given(
    some.lists(some.sampled_from(["Dallas", "{city}", "say *", '"New York"']), min_size=2, max_size=5),
    some.integers(1, 50),
)
def test_a_question_comes_back_from_its_address(steps, k):
    question = Question(join_steps(steps[0], "\n".join(steps[1:-1]), steps[-1]), ("ab", "cd"), k, "positive")
    params = question.params()
    assert question.steps == steps
    assert read_question(params["p"], params["in"], params.get("k", ""), params["sign"]) == question


def test_looser_questions_change_one_step():
    question = Question("Dallas -> Texas -> Austin")
    assert question.without(1).pattern == "Dallas -> Austin"
    assert question.loosened(1).pattern == "Dallas -> *Texas* -> Austin"


def test_a_nonsense_question_is_read_at_its_defaults():
    assert read_question(" a -> b ", [], "1000", "sideways") == Question("a -> b")


def test_parameters_in_strings_and_comments_are_none():
    assert names_of("RETURN '$a' + \"$b\" + $c // $d\n/* $e */ + $c") == ["c"]


def test_every_saved_query_has_a_field_for_each_parameter_of_its_header():
    for query in read_queries("explore").values():
        blanks = blanks_of(query.text, query)
        assert {blank.name for blank in blanks} == {param.name for param in query.params}
        assert all(blank.type != "any" for blank in blanks)


def test_a_text_of_ones_own_gets_untyped_fields_and_an_address_of_its_own():
    assert blanks_of("RETURN $x", None) == [Blank("x", "any")]
    assert Asked("RETURN $x", values={"x": "5"}).params() == {"q": "RETURN $x", "param_x": "5"}


@given(
    some.sampled_from(["", "graphs", "strongest_sources"]),
    some.dictionaries(some.from_regex(r"\A\w{1,8}\Z"), some.text()),
    some.sampled_from(LOOKS),
    some.text(max_size=5),
    some.text(max_size=5),
)
def test_a_query_and_how_it_is_looked_at_come_back_from_their_address(name, values, view, x, y):
    queries = read_queries("explore")
    asked = Asked(queries[name].text if name else "RETURN $x AS n", name, values, view, x, y)
    assert read_asked(asked.params(), queries) == asked


def test_an_address_without_a_query_asks_nothing():
    assert read_asked({}, {}) is None and read_asked({"name": "gone"}, {}) is None
    assert read_asked({"q": "RETURN 1", "view": "magic"}, {}) == Asked("RETURN 1")
