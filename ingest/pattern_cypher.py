"""A circuit pattern as Cypher: the query that finds its instances of fixed length in the database."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace

from circuits.pattern import ABOVE_ALL, KINDS, TEXTS, Choice, How, Pattern, Roles, Waypoint, parse_pattern
from circuits.walks import Way
from ingest.rows import label_key
from tracer.schema import NODE_LABELS, NodeKind

LIMIT = 100  # instances
IGNORE_CASE, AS_IT_IS = "(?isuU)", "(?sU)"  # flags of Java's regular expressions; U: \s and \w as Unicode has them
PREFERRED = {"first": NodeKind.TOKEN, "last": NodeKind.LOGIT}


def cypher_behind(pattern_text: str, roles: Roles | None = None, sign: str = "any", links: Sequence[int] = ()) -> str:
    """The pattern as Cypher with all values filled in, ready to be run.

    Each arrow is as many links as it allows; one without an upper limit is its least number, so `->` is one link. On
    the pruned graphs this finds the very paths that `circuits` finds there under these limits, the strongest first.

    Args:
        roles: The terms of each role.
        sign: `any`, or `positive` for paths of positive effects alone.
        links: So many links for each arrow that sets no limit itself: those of the strongest path, so that it is found.

    >>> print(cypher_behind("Dallas -> 20/15589 -> Austin").splitlines()[3])
    MATCH (graph:Graph {ready: true}), (n0:Node)-[e1:AFFECTS]->(n1:Node)-[e2:AFFECTS]->(n2:Node),
    """
    pattern = parse_pattern(pattern_text, roles)
    numbers = links or [1] * len(pattern.ways)
    ways = tuple(
        replace(way, min_hops=number, max_hops=number) if way.min_hops == 1 and way.max_hops is None else way
        for way, number in zip(pattern.ways, numbers, strict=True)
    )
    return pattern_cypher(replace(pattern, ways=ways), sign)


def pattern_cypher(pattern: Pattern, sign: str = "any") -> str:
    """`cypher_behind` of a pattern that is read already."""
    last = len(pattern) - 1
    chain, conditions, edges, nodes = ["(n0:Node)"], ["n0.graph_id = graph.graph_id"], [], ["[n0]"]
    for place, way in enumerate(pattern.ways, 1):
        least, most = way.min_hops, way.max_hops or way.min_hops
        edge, node = f"e{place}", f"n{place}"
        if most == 1:
            chain.append(f"-[{edge}:AFFECTS]->({node}:Node)")
            edges.append(f"[{edge}]")
            nodes.append(f"[{node}]")
        else:
            chain.append(f"-[{edge}:AFFECTS*{least}..{most}]->({node}:Node)")
            edges.append(edge)
            nodes.append(f"[each IN {edge} | endNode(each)]")
            inner = _condition(pattern.waypoints[place - 1], "inner", "first" if place == 1 else "")
            conditions.append(f"none(each IN tail({edge}) WHERE {_over_nodes(inner)})")
        conditions += _sign_conditions(way, sign, edge, single=most == 1)
    for place, waypoint in enumerate(pattern):
        end = "first" if place == 0 else "last" if place == last else ""
        conditions.append(_condition(waypoint, f"n{place}", end))
    conditions += _same_terms(pattern)
    starts = ["".join(chain), *_feature_starts(pattern)]
    numbers = [
        f"{way.min_hops}" if way.max_hops in (None, way.min_hops) else f"{way.min_hops} to {way.max_hops}"
        for way in pattern.ways
    ]
    number = ", ".join(numbers[:-1]) + " and " + numbers[-1] if len(numbers) > 1 else numbers[0]
    roles_note = "" if not pattern.roles else "  (" + ", ".join(f"{{{role}}}" for role in pattern.roles) + " filled in)"
    lines = [
        f"// {' '.join(pattern.text.split())}{roles_note}",
        f"// The strongest paths in the pruned graphs of the database of {number} links, arrow by arrow.",
        "// Longer paths, and what pruning took, count in the flow of `throughline circuits` and not here.",
        "MATCH (graph:Graph {ready: true}), " + ",\n      ".join(starts),
        "WHERE " + "\n  AND ".join(condition for condition in conditions if condition),
        f"WITH graph, {' + '.join(nodes)} AS nodes, {' + '.join(edges)} AS edges",
        "WITH graph, nodes, edges, reduce(strength = 1.0, each IN edges | strength * each.share) AS strength",
        "RETURN graph.graph_id AS graph_id, graph.slug AS slug, graph.prompt AS prompt, strength,",
        "       [each IN nodes | each.node_id] AS node_ids, [each IN nodes | each.label] AS labels,",
        "       [each IN edges | each.effect] AS effects, [each IN edges | each.share] AS shares",
        "ORDER BY strength DESC, graph_id, node_ids",
        f"LIMIT {LIMIT}",
    ]
    return "\n".join(lines)


def quoted(value: str | int | Sequence[str]) -> str:
    r"""A value as Cypher writes it, under Cypher 5 and 25: the escapes of JSON are among Cypher's.

    >>> print(quoted('it\'s "\\" $x'))
    "it's \"\\\" $x"
    """
    return json.dumps(value, ensure_ascii=False)


def _condition(waypoint: Waypoint, node: str, end: str) -> str:
    """Whether this node can serve as the waypoint; `end` is first, last or empty."""
    filters = _filters(waypoint, node)
    parts = []
    for choice in waypoint.choices:
        part = _choice(choice, node)
        if end and choice.how in TEXTS:
            label = NODE_LABELS[PREFERRED[end]]
            other = _all([_choice(choice, "other"), *_filters(waypoint, "other")])
            there = f"EXISTS {{ MATCH (other:{label} {{graph_id: graph.graph_id}}) WHERE {other} }}"
            part = f"({part} AND ({node}:{label} OR NOT {there}))"
        parts.append(part)
    any_of = " OR ".join(parts)
    return _all([f"({any_of})" if len(parts) > 1 else any_of, *filters])


def _over_nodes(condition: str) -> str:
    """The condition on `inner` as one on the node where the link `each` starts."""
    return re.sub(r"\binner\b", "startNode(each)", condition)


def _choice(choice: Choice, node: str) -> str:
    match choice.how:
        case How.KIND:
            return f"{node}:{NODE_LABELS[KINDS[choice.terms[0]]]}"
        case How.FEATURE:
            asked = [f"{node}:ActiveFeature", f"{node}.layer = {choice.layer}", f"{node}.index = {choice.index}"]
            if choice.position >= 0:
                asked.append(f"{node}.position = {choice.position}")
            if choice.source_set:
                name = choice.source_set.lower()
                same = f"toLower(graph.source_set) = {quoted(name)}"
                tail = f" OR toLower(graph.source_set) ENDS WITH {quoted('/' + name)}" if "/" not in name else ""
                asked.append(f"({same}{tail})" if tail else same)
            return _all(asked)
        case How.SUPERNODE:
            name = quoted(IGNORE_CASE + _glob(choice.terms[0]))
            return f"EXISTS {{ MATCH ({node})-[:MEMBER_OF]->(group:Supernode) WHERE group.name =~ {name} }}"
        case How.ROLE:
            return f"{node}.label_key IN {quoted([label_key(term) for term in choice.terms])}"
        case How.GLOB if set(choice.terms[0]) == {"*"}:
            return f"NOT {node}:Bias"
        case How.GLOB:
            term = choice.terms[0]
            piece = max(re.split(r"[*?]", label_key(term)), key=len)  # one that an index can look up
            found = [f"NOT {node}:Bias", f"{node}.label_key =~ {quoted(IGNORE_CASE + _glob(term))}"]
            return _all([*([f"{node}.label_key CONTAINS {quoted(piece)}"] if piece else []), *found])
        case How.EXACT:
            key, words = quoted(label_key(choice.terms[0])), quoted(AS_IT_IS + _words(choice.terms[0], blanks=True))
            return f"{node}.label_key = {key} AND {node}.label =~ {words}"
        case How.WORDS:
            key = quoted(label_key(choice.terms[0]))
            words = quoted(rf"{IGNORE_CASE}.*(?<!\w){_words(choice.terms[0])}(?!\w).*")
            return (
                f"(NOT {node}:ActiveFeature AND {node}.label_key = {key} OR "
                f"{node}:ActiveFeature AND {node}.label_key CONTAINS {key} AND {node}.label =~ {words})"
            )


def _filters(waypoint: Waypoint, node: str) -> list[str]:
    filters = []
    if waypoint.within:
        lowest, highest = waypoint.within
        filters.append(f"{node}.layer >= {lowest}" + (f" AND {node}.layer <= {highest}" if highest < ABOVE_ALL else ""))
    if waypoint.position is not None:
        at = waypoint.position
        filters.append(f"{node}.position = {at if at >= 0 else f'size(graph.tokens) - {-at}'} AND {node}.position >= 0")
    if waypoint.position_text is not None:
        choice = waypoint.position_text
        flags = AS_IT_IS if choice.how is How.EXACT else IGNORE_CASE
        body = rf"\s*{_glob(choice.terms[0])}\s*" if choice.how is How.GLOB else _words(choice.terms[0], blanks=True)
        filters.append(f"{node}.position >= 0 AND graph.tokens[{node}.position] =~ {quoted(flags + body)}")
    return filters


def _sign_conditions(way: Way, sign: str, edge: str, single: bool) -> list[str]:
    if way.sign == "negative":
        turned = f"reduce(turned = 1, each IN {edge} | CASE WHEN each.effect < 0 THEN -turned ELSE turned END) < 0"
        return [f"{edge}.effect < 0" if single else turned]
    if "positive" in (way.sign, sign):
        return [f"{edge}.effect > 0" if single else f"all(each IN {edge} WHERE each.effect > 0)"]
    return []


def _same_terms(pattern: Pattern) -> list[str]:
    """A role named twice stands for one term."""
    first: dict[str, int] = {}
    same = []
    for place, waypoint in enumerate(pattern):
        if waypoint.role and first.setdefault(waypoint.role, place) != place:
            same.append(f"n{first[waypoint.role]}.label_key = n{place}.label_key")
    return same


def _feature_starts(pattern: Pattern) -> list[str]:
    """Where to start by an index: a waypoint that is one feature."""
    return [
        f"(n{place})-[:INSTANCE_OF]->(:Feature {{layer: {waypoint.choices[0].layer}, "
        f"index: {waypoint.choices[0].index}}})"
        for place, waypoint in enumerate(pattern)
        if len(waypoint.choices) == 1 and waypoint.how is How.FEATURE
    ]


def _words(text: str, blanks: bool = False) -> str:
    """The regular expression of a text, with any blanks between its words, and at its ends if asked."""
    body = r"\s+".join(_literal(word) for word in text.split())
    return rf"\s*{body}\s*" if blanks else body


def _glob(text: str) -> str:
    wild = {"*": ".*", "?": "."}
    pieces = re.findall(r"\\[*?]|.", text, re.DOTALL)
    return "".join(wild.get(piece) or _literal(piece[-1]) for piece in pieces)


def _literal(text: str) -> str:
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def _all(conditions: Sequence[str]) -> str:
    return " AND ".join(condition for condition in conditions if condition)
