"""The prompt set that a user means: a table, or what a query answers; all of it, or the rows with some values."""

import re
from collections.abc import Callable
from pathlib import Path

from circuits.promptset import PromptSet
from ingest.store import GraphStore
from tracer.errors import PatternError

TABLES = (".csv", ".parquet", ".jsonl", ".json")
QUERY = ".cypher"
MOST_PROMPTS = 100_000  # that a query may answer with
TYPED = re.compile(r"\s*(//|/\*|MATCH\b|OPTIONAL\b|CALL\b|UNWIND\b|WITH\b|RETURN\b|CYPHER\b)", re.IGNORECASE)
CHOSEN = re.compile(r"(?P<table>.+)\[(?P<values>[^\[\]]*)\]", re.DOTALL)


def find_set(name: str, open_store: Callable[[], GraphStore]) -> PromptSet:
    """The prompts of a table, of a saved query (.cypher) or of Cypher as typed.

    Args:
        name: `capitals.csv`, `capitals.csv[language=fr]` for some of its rows, `capitals.cypher`, or
            `MATCH (g:Graph) WHERE g.prompt CONTAINS 'capital' RETURN g.graph_id AS graph_id, g.roles AS roles`.
        open_store: Called where a query is to be run.

    Raises:
        PatternError: It cannot be read, or names no graphs.
        QueryError: The query is wrong or does not only read.
    """
    if TYPED.match(name) and not Path(name).exists():
        return _of_query(name, "the query", open_store)
    table, where = _parts(name)
    if Path(table).suffix.lower() != QUERY:
        return PromptSet.read(table, where)
    try:
        text = Path(table).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PatternError(f"{table}: {error}; expected a Cypher query as text. Check it.") from None
    return _of_query(text, Path(table).name, open_store, where)


def names_set(name: str) -> bool:
    """Whether this is the name of a set where graphs may be named as well: a .json alone is taken for a graph."""
    if TYPED.match(name) and not Path(name).exists():
        return True
    table, where = _parts(name)
    return Path(table).suffix.lower() in (*TABLES[: len(TABLES) if where else -1], QUERY)


def _parts(name: str) -> tuple[str, dict[str, str]]:
    """(table, column -> value)."""
    found = CHOSEN.fullmatch(name)
    if not found or Path(name).exists():
        return name, {}
    where = {}
    for pair in found["values"].split(","):
        column, equals, value = pair.partition("=")
        if not equals or not column.strip():
            raise PatternError(
                f"{name}: {pair.strip()!r} chooses no rows; expected column=value, several with commas, as in "
                f"{found['table']}[language=fr]. Correct it."
            )
        where[column.strip()] = value.strip()
    return found["table"], where


def _of_query(
    text: str, name: str, open_store: Callable[[], GraphStore], where: dict[str, str] | None = None
) -> PromptSet:
    with open_store() as store:
        rows = store.cypher(text, max_rows=MOST_PROMPTS, timeout_s=60)
    if rows.truncated:
        raise PatternError(f"{name} answers with more than {MOST_PROMPTS:,} rows; expected one a prompt. Narrow it.")
    return PromptSet.of(rows.records, name, where)
