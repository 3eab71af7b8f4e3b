"""How the pages name the graphs of the store: one line each, and a version for addresses; pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# <bos>, <|im_end|>: no part of the text; but <b> may be
SPECIAL_TOKENS = re.compile(r"^(<(s|bos|eos|pad|unk|start_of_turn)>|<[|｜][^<>\s]{1,30}[|｜]>)+")


def prompt_text(prompt: str) -> str:
    """A prompt as one line, without the tokens that only mark its start.

    >>> prompt_text("<bos>Fact: the capital\\nis")
    'Fact: the capital is'
    >>> prompt_text("<|begin_of_text|><b>bold</b>")
    '<b>bold</b>'
    """
    return " ".join(SPECIAL_TOKENS.sub("", prompt).split()) or prompt


def caption(row: Mapping[str, Any]) -> str:
    """A graph as one line of a selector; the model comes first, so that the list is grouped by it."""
    day = str(row.get("ingested_at") or "")[:10]
    facts = [row["model"], prompt_text(row["prompt"]), f"{row['n_nodes']:,} nodes, {row['n_edges']:,} links", day]
    return " · ".join(fact for fact in facts if fact)


def version_of(row: Mapping[str, Any]) -> str:
    """When the graph was ingested, as it may stand in an address: labels change only by ingesting again.

    >>> version_of({"ingested_at": "2026-11-24T19:00:01Z"})
    '20261124T190001Z'
    """
    return "".join(character for character in str(row.get("ingested_at") or "") if character.isalnum()) or "0"


def named_graph(rows: Sequence[Mapping[str, Any]], name: str | None) -> str | None:
    """The graph_id of the graph with this id, or of the first one with this slug."""
    return next((row["graph_id"] for row in rows if name in (row["graph_id"], row["slug"])), None)
