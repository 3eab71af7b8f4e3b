"""A feature as an address holds it: `set/layer/index`; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tracer.errors import PatternError

PLACE = re.compile(r"L?(\d{1,4})\s*[/_ ]\s*#?(\d{1,9})")
LUCENE = re.compile(r'([+\-!(){}\[\]^:\\/&|"?])')  # what a search for words would take for an operator
ANY = re.compile("(.)")
PAGE = "/feature"


@dataclass(frozen=True)
class FeatureKey:
    """An entry of a dictionary."""

    source_set: str
    """The dictionary, as `throughline list` shows it."""
    layer: int
    index: int

    @classmethod
    def parse(cls, text: str) -> "FeatureKey":
        """The feature that an address names.

        Raises:
            PatternError: It is not of the form set/layer/index.

        >>> FeatureKey.parse("gemma-2-2b/clt-hp/20/15589")
        FeatureKey(source_set='gemma-2-2b/clt-hp', layer=20, index=15589)
        """
        source_set, _, place = text.strip().rpartition("/")
        source_set, _, layer = source_set.rpartition("/")
        if not (source_set and layer.isdecimal() and place.isdecimal() and len(layer) < 5 and len(place) < 10):
            raise PatternError(
                f"{text!r} is no feature; expected set/layer/index such as gemma-2-2b/clt-hp/20/15589. Correct it, or "
                "search by label."
            )
        return cls(source_set, int(layer), int(place))

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "FeatureKey":
        """The feature of a row with source_set, layer and index."""
        return cls(row["source_set"], int(row["layer"]), int(row["index"]))

    def __str__(self) -> str:
        return f"{self.source_set}/{self.layer}/{self.index}"

    @property
    def params(self) -> dict[str, Any]:
        """As the queries of cypher/explore name it."""
        return {"source_set": self.source_set, "layer": self.layer, "index": self.index}

    @property
    def link(self) -> str:
        """The address of its page.

        >>> FeatureKey("m/set", 20, 7).link
        '/feature?f=m%2Fset%2F20%2F7'
        """
        return f"{PAGE}?{urlencode({'f': str(self)})}"


def place_in(text: str) -> tuple[int, int] | None:
    """(layer, index) where a search is for a number and not for words.

    >>> place_in("20/15589"), place_in("L20 #15589"), place_in("20_15589"), place_in("Texas")
    ((20, 15589), (20, 15589), (20, 15589), None)
    """
    found = PLACE.fullmatch(text.strip())
    return (int(found[1]), int(found[2])) if found else None


def words_query(text: str, pieces: bool = False) -> str:
    r"""The same words for a full-text index; `*` and `~` keep their meaning there.

    Args:
        pieces: Also words that begin so.

    >>> print(words_query('say (Austin'), words_query('tex of', pieces=True))
    say \(Austin tex* of*
    """
    words = [(LUCENE if re.search(r"\w", word) else ANY).sub(r"\\\1", word) for word in text.split()]
    words = [word.lower() if word in ("AND", "OR", "NOT") else word for word in words]
    return " ".join(f"{word}*" if pieces and word[-1] not in "*~" else word for word in words)
