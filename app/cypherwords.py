"""Words of a Cypher text that the database does not know, with what may have been meant; pure."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from app.params import NOT_CODE

PIECE = re.compile(r"`(?:``|[^`])*`|\w+|\S")
CLOSED_BY = {")": "(", "]": "[", "}": "{"}
NOT_PROPERTIES = {"db", "date", "datetime", "duration", "localdatetime", "localtime", "point", "time", "vector"}


def unknown_words(text: str, vocabulary: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A sentence for each label, type and property that the database has not got.

    >>> known = {"labels": {"Graph": 1}, "types": {"AFFECTS": 1}, "properties": {"slug": 0}}
    >>> unknown_words("MATCH (g:Grph)-[:AFFECTS]->() RETURN g.slug, g.size", known)
    ['The database has no label or type Grph; did you mean Graph?', 'The database has no property size.']
    """
    labels, properties = {*vocabulary["labels"], *vocabulary["types"]}, set(vocabulary["properties"])
    told = []
    for kind, name in dict.fromkeys(_words(text)):
        known = properties if kind == "property" else labels
        if name not in known:
            meant = get_close_matches(name.lower(), {each.lower(): each for each in known}, n=1)
            near = next((each for each in known if meant and each.lower() == meant[0]), "")
            told.append(f"The database has no {kind} {name}" + (f"; did you mean {near}?" if near else "."))
    return told


def _words(text: str) -> Iterator[tuple[str, str]]:
    """(`label or type` or `property`, name) of each one that the text names outside strings and comments."""
    code = NOT_CODE.sub(lambda found: found[0] if found[0][0] == "`" else " '' ", text)
    pieces, open_brackets = PIECE.findall(code), []
    for before, piece, after in zip(["", *pieces], pieces, [*pieces[1:], ""], strict=False):
        if piece in "([{":
            open_brackets.append(piece)
        elif piece in CLOSED_BY and open_brackets[-1:] == [CLOSED_BY[piece]]:
            open_brackets.pop()
        inside = open_brackets[-1] if open_brackets else ""
        name = piece[1:-1].replace("``", "`") if piece[0] == "`" else piece
        if not re.match(r"\w|`", piece) or piece[0].isdigit():
            continue
        if before == ":" and inside != "{":
            yield "label or type", name
        elif (before == "." and after != "(" and not _is_namespace(pieces, piece)) or (
            inside == "{" and after == ":" and before in ("{", ",")
        ):
            yield "property", name


def _is_namespace(pieces: list[str], piece: str) -> bool:
    """Whether a name between dots belongs to a function or procedure, as `index` in `db.index.fulltext`."""
    at = pieces.index(piece)
    while at >= 2 and pieces[at - 1] == ".":
        at -= 2
    return pieces[at].lower() in NOT_PROPERTIES
