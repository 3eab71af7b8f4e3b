"""The queries that were run on the Cypher page, newest first, over sessions: a line of JSON each in the home folder."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ingest.home import home

FILE = "cypher_history.jsonl"
MOST_KEPT = 200
MOST_TEXT = 20_000  # characters of a query that is worth keeping here


@dataclass(frozen=True)
class Past:
    """A query that was run."""

    when: str
    """ISO 8601."""
    params: dict[str, str] = field(default_factory=dict)
    """Its address."""
    rows: int = 0
    ms: float = 0.0
    error: str = ""
    """Why it failed; empty where it did not."""

    @property
    def title(self) -> str:
        """Its name, else the beginning of its text in one line."""
        return self.params.get("name", "") or " ".join(self.params.get("q", "").split())


class History:
    """The file of them."""

    def __init__(self, path: Path):
        self.path = path

    def newest(self, n: int) -> list[Past]:
        """The last n queries, each address once; lines that cannot be read are left out."""
        found: dict[str, Past] = {}
        for line in reversed(self._lines()):
            with suppress(ValueError, TypeError, AttributeError):
                past = Past(**json.loads(line))
                found.setdefault(json.dumps(past.params, sort_keys=True), past)
        return list(found.values())[:n]

    def add(self, past: Past) -> None:
        """Note a query; one that cannot be noted is no reason to fail."""
        if len(past.params.get("q", "")) > MOST_TEXT:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = self._lines()
            if len(lines) >= 2 * MOST_KEPT:
                self.path.write_text("\n".join([*lines[-MOST_KEPT:], ""]), encoding="utf-8")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(past), ensure_ascii=False) + "\n")

    def clear(self) -> None:
        """Forget all of them."""
        self.path.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []


def default_history() -> History:
    """This user's."""
    return History(home() / FILE)
