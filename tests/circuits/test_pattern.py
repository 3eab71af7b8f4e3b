"""Patterns: what they mean, what they match, and how broken ones are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.pattern import How, match, parse_pattern
from tests.circuits.small_graphs import ERROR, FEATURE, LOGIT, TOKEN, make_graph
from tracer.errors import PatternError


def waypoint(text: str, roles: dict | None = None):
    return parse_pattern(f"{text} -> end", roles).waypoints[0]


@pytest.mark.parametrize("arrow", ["->", " -> ", "→", "-->", " ⟶\n"])
def test_any_arrow_parts_waypoints(arrow):
    assert [each.terms for each in parse_pattern(f"Dallas{arrow}Texas{arrow}Austin")] == [
        ("Dallas",),
        ("Texas",),
        ("Austin",),
    ]


def test_a_term_may_hold_spaces_and_hyphens():
    pattern = parse_pattern("New  York -> say Winston-Salem")
    assert [each.terms for each in pattern] == [("New York",), ("say Winston-Salem",)]


@pytest.mark.parametrize("label", [" dallas", "Dallas", "DALLAS "])
def test_a_text_equals_a_token_or_output_whatever_its_case_and_spaces(label):
    assert waypoint("Dallas").matches(TOKEN, label)
    assert waypoint("Dallas").matches(LOGIT, label)


@pytest.mark.parametrize(
    "label, found",
    [
        ("Texas", True),
        ("the state of texas", True),
        ("Texas-related", True),
        ("say (Texas)", True),
        ("Texans", False),
        ("Texasish", False),
        ("", False),
    ],
)
def test_a_text_is_found_in_a_label_as_whole_words(label, found):
    assert waypoint("Texas").matches(FEATURE, label) is found
    assert not waypoint("Texas").matches(TOKEN, f"x {label}")


def test_words_with_signs_are_found_too():
    assert waypoint("C++").matches(FEATURE, "code in C++")
    assert not waypoint("C").matches(FEATURE, "code in Cobol")


@pytest.mark.parametrize(
    "glob, label, found",
    [
        ("*texas*", "cities in Texas, Texans", True),
        ("Te?as", "Texas", True),
        ("Te?as", "Teas", False),
        ("Tex*", "say Texas", False),
        ("a[b]*", "a[b]c", True),
        ("*", "", True),
    ],
)
def test_wildcards_match_the_whole_text(glob, label, found):
    assert waypoint(glob).matches(FEATURE, label) is found


def test_quotes_ask_for_the_whole_text_as_it_is():
    exact = waypoint('" May "')
    assert exact.matches(TOKEN, " May") and exact.matches(FEATURE, "May")
    assert not exact.matches(TOKEN, "may") and not exact.matches(FEATURE, "in May")
    assert waypoint('"what -> why"').terms == ("what -> why",)
    assert waypoint('"{x} *"').matches(TOKEN, "{x} *")


def test_a_role_is_any_of_its_terms_as_the_whole_text():
    city = waypoint("{city}", {"city": ["Dallas", "New York"]})
    assert city.how is How.ROLE and city.role == "city"
    assert city.term_of(TOKEN, " new york") == "New York"
    assert city.term_of(FEATURE, "Dallas suburbs") is None
    assert not city.bound_to("Dallas").matches(TOKEN, " New York")


@pytest.mark.parametrize("text", ["#L20/15589", "20_15589"])
def test_a_feature_is_named_by_layer_and_index(text):
    feature = waypoint(text)
    assert feature.matches(FEATURE, "anything", layer=20, index=15589, position=3)
    assert not feature.matches(FEATURE, "anything", layer=15589, index=20)
    assert not feature.matches(TOKEN, "20_15589", layer=20, index=15589)


def test_a_feature_with_a_position_is_one_node():
    feature = waypoint("20_15589_10")
    assert feature.matches(FEATURE, "", layer=20, index=15589, position=10)
    assert not feature.matches(FEATURE, "", layer=20, index=15589, position=9)


@pytest.mark.parametrize(
    "text, message",
    [
        ("  ", "the pattern is empty; expected at least two waypoints"),
        ("Dallas", "has one waypoint; expected at least two"),
        ("Dallas -> -> Austin", "waypoint 2 of 3 is empty"),
        ("-> Austin", "waypoint 1 of 2 is empty"),
        ('"Dallas -> Austin', "a quote that does not close; expected quotes in pairs"),
        ('New "York" -> Albany', "quoted in part; expected quotes around the whole waypoint"),
        ('"" -> Albany', "the quotes hold nothing"),
        ("{city -> Austin", "braces in {city do not enclose one role"),
        ("city} -> Austin", "braces in city} do not enclose one role"),
        ("{a}{b} -> Austin", "do not enclose one role"),
        ("{town} -> Austin", "role {town} is unknown; there are {city}, {none}"),
        ("{none} -> Austin", "role {none} has no terms"),
    ],
)
def test_a_broken_pattern_is_refused_with_what_was_seen_and_expected(text, message):
    with pytest.raises(PatternError) as refused:
        parse_pattern(text, {"city": ["Dallas"], "none": [" "]})
    assert message in str(refused.value)
    assert str(refused.value).endswith(".")  # ends with the remedy


def test_a_role_without_any_roles_says_so():
    with pytest.raises(PatternError, match="there are no roles at all"):
        parse_pattern("{city} -> Austin")


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_refused(text):
    try:
        pattern = parse_pattern(text, {"a": ["b"]})
    except PatternError:
        return
    assert len(pattern) >= 2
    for each in pattern:
        each.matches(FEATURE, text)


@given(st.lists(st.sampled_from(["Dallas", "New York", '"May"', "*x?", "{city}", "3_14"]), min_size=2, max_size=6))
def test_waypoints_come_back_in_order(parts):
    pattern = parse_pattern(" -> ".join(parts), {"city": ["Dallas"]})
    assert [each.text for each in pattern] == parts
    assert parse_pattern(" → ".join(each.text for each in pattern), {"city": ["Dallas"]}).waypoints == pattern.waypoints


NODES = [
    (FEATURE, 0, "Dallas, Texas"),
    (FEATURE, 1, "Texas"),
    (FEATURE, 2, "say Austin"),
    (ERROR, 1, ""),
    (TOKEN, -1, " Dallas"),
    (TOKEN, -1, " in"),
    (LOGIT, 4, " Austin"),
]


def found(text: str) -> list[list[int]]:
    return [rows.tolist() for rows in match(parse_pattern(text, {"city": ["Dallas"]}), make_graph(NODES, {}))]


def test_a_text_at_the_ends_means_tokens_and_outputs_where_there_are_some():
    assert found("Dallas -> Texas -> Austin") == [[4], [0, 1], [6]]
    assert found("{city} -> Austin") == [[4], [6]]


def test_at_the_ends_labels_count_where_no_token_or_output_has_the_text():
    assert found("Texas -> say Austin") == [[0, 1], [2]]


def test_a_wildcard_at_the_ends_means_every_node_it_matches():
    assert found("* -> *Austin") == [[0, 1, 2, 3, 4, 5, 6], [2, 6]]


def test_a_feature_is_found_by_its_place():
    assert found("1_1 -> Austin")[0] == [1]  # the small graphs number features by row
    assert found("1_2 -> Austin")[0] == []
