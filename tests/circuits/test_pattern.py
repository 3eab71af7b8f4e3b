"""Patterns: what they mean, what they match, and how broken ones are refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.pattern import How, match, parse_pattern
from circuits.walks import Way
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
        ('"Dallas -> Austin', "a quote does not close; expected quotes in pairs"),
        ('New "York" -> Albany', "quoted in part; expected quotes around the whole text"),
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
    assert str(refused.value).partition("\n")[0].endswith(".")  # ends with the remedy


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


WAYPOINTS = ["Dallas", "New York", '"M|a->y"', "*x?", "{city}", "a|b", "say x@pos:-1", "supernode:Texas"]


@given(st.lists(st.sampled_from(WAYPOINTS), min_size=2, max_size=4))
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


def one(text: str, roles: dict | None = None):
    return parse_pattern(f"{text} -> end", roles).waypoints[0]


@pytest.mark.parametrize(
    "arrow, way",
    [
        ("->", Way()),
        ("-|", Way("negative")),
        ("⊣", Way("negative")),
        ("-{2}->", Way("any", 2, 2)),
        ("-{2,4}->", Way("any", 2, 4)),
        ("-{2,}->", Way("any", 2, None)),
        ("-{,4}->", Way("any", 1, 4)),
        ("-{2,3}-|", Way("negative", 2, 3)),
        ("-{2}>", Way("any", 2, 2)),
    ],
)
def test_an_arrow_says_how_many_links_and_which_sign(arrow, way):
    assert parse_pattern(f"Dallas {arrow} Austin").ways == (way,)


def test_a_waypoint_is_one_of_several_choices():
    asked = one('Texas|"Texan"|20/15589')
    assert asked.matches(FEATURE, "in Texas") and asked.matches(FEATURE, "Texan")
    assert not asked.matches(FEATURE, "texan")
    assert asked.matches(FEATURE, "", layer=20, index=15589) and not asked.matches(FEATURE, "", layer=20, index=1)


@pytest.mark.parametrize(
    "text, source_set, found",
    [
        ("20/15589", "anything", True),
        ("clt-hp/20/15589", "clt-hp", True),
        ("clt-hp/20/15589", "mntss/CLT-HP", True),
        ("mntss/clt-hp/20/15589", "clt-hp", False),
        ("clt-hp/20/15589", "gemmascope-transcoder-16k", False),
    ],
)
def test_a_feature_may_name_its_dictionary(text, source_set, found):
    [choice] = one(text).choices
    assert (choice.layer, choice.index) == (20, 15589)
    assert choice.is_of(source_set) is found


def test_layers_filter_what_a_waypoint_can_be():
    assert found("Dallas -> Texas@L1 -> Austin") == [[4], [1], [6]]
    assert found("Dallas -> @L0-1 -> Austin") == [[4], [0, 1, 3], [6]]
    assert found("Dallas -> *@L1- -> Austin") == [[4], [1, 2, 3, 6], [6]]


def test_a_filter_makes_an_end_a_feature_where_no_token_is_left():
    assert found("Dallas@L0 -> Austin") == [[0], [6]]


def test_positions_filter_by_number_from_the_end_and_by_text():
    nodes = [(FEATURE, 0, "x"), (FEATURE, 1, "x"), (TOKEN, -1, "a"), (LOGIT, 4, " y")]
    graph = make_graph(nodes, {})  # positions are rows; the two tokens are "a" and " prompt"
    rows = {text: match(parse_pattern(f"{text} -> y"), graph)[0].tolist() for text in ("x@pos:0", "x@pos:-1")}
    assert rows == {"x@pos:0": [0], "x@pos:-1": [1]}
    assert match(parse_pattern("*@pos:prompt -> y"), graph)[0].tolist() == [1]
    assert match(parse_pattern('*@pos:"A" -> y'), graph)[0].tolist() == []


def test_errors_are_named_by_their_kind_and_quotes_ask_for_the_word():
    assert found("Dallas -> error -> Austin")[1] == [3]
    assert found("Dallas -> error@L2 -> Austin")[1] == []
    assert found('Dallas -> "error" -> Austin')[1] == []


def test_no_wildcard_means_a_bias():
    graph = make_graph([(FEATURE, 2, "x"), (TOKEN, -1, "a"), (LOGIT, 4, " y"), ("bias", 1, "biases of layer 1")], {})
    asked = {text: match(parse_pattern(f"{text} -> y"), graph)[0].tolist() for text in ("*", "*bias*", "bias@L1")}
    assert asked == {"*": [0, 1, 2], "*bias*": [], "bias@L1": [3]}


def test_a_supernode_stands_for_its_members():
    graph = make_graph(NODES, {})
    names = graph.nodes["node_id"].tolist()
    groups = [{"label": "Texas places", "members": names[:2]}, {"label": "say *", "members": names[2:3]}]
    graph = replace(graph, metadata=replace(graph.metadata, provenance={"supernodes": groups}))

    def members(text: str) -> list[int]:
        return match(parse_pattern(f"Dallas -> {text} -> Austin"), graph)[1].tolist()

    assert members("supernode:texas places") == members("supernode:Texas*") == [0, 1]
    assert members('supernode:"say *"') == [2] and members("supernode:say ?") == [2]
    assert members("supernode:Texas") == []


@pytest.mark.parametrize(
    "text, message, marked",
    [
        ("Dallas -> -> Austin", "waypoint 2 of 3 is empty", " "),
        ("a -{0}-> b", "-{0}-> allows no path", "-{0}->"),
        ("a -{3,2}-> b", "-{3,2}-> allows no path", "-{3,2}->"),
        ("a -{x}-> b", "has no number of links in braces", "-{x}->"),
        ("a -[2..4]-> b", "has no number of links in braces", "-[2..4]->"),
        ("a -> b@here -> c", "@here is no filter", "@here"),
        ("a -> b@L9-3 -> c", "@L9-3 holds no layer", "@L9-3"),
        ("a| -> c", "nothing stands beside the bar", "|"),
        ("a -> supernode: -> c", "a supernode without a name", "supernode:"),
        ("a -> x|{city} -> c", "do not enclose one role", "{city}"),
        ("a -> 20/1@L3 -> b", "no node is in the layers of 20/1@L3", "20/1@L3"),
        ("a -> 20/1 -> 3/44 -> b", "so no path goes from one to the other", "20/1 -> 3/44"),
        ("a -> 3/1 -{2,}-> 4/44", "by at least 2 links", "3/1 -{2,}-> 4/44"),
        ("a@L9 -> b -> c@L10", "so no path goes from one to the other", "b -> c@L10"),
        ('a -> "b', "a quote does not close", '"'),
    ],
)
def test_an_error_marks_its_place(text, message, marked):
    with pytest.raises(PatternError) as refused:
        parse_pattern(text, {"city": ["Dallas"]})
    said, shown, carets = str(refused.value).split("\n")
    assert message in said and shown.strip() == text
    place = slice(carets.index("^"), len(carets))
    assert shown[place] == marked or marked in (" ", "|")
    assert set(carets.strip()) == {"^"}


def test_a_bias_acts_within_its_layer():
    parse_pattern("bias@L3 -> 3/44 -> x")
    with pytest.raises(PatternError, match="each link goes to a higher layer"):
        parse_pattern("bias@L4 -> 3/44 -> x")
