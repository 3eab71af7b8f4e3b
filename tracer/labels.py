"""Labels: what the features of a dictionary are thought to mean, read from its labels.csv."""

import os
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pandas as pd

from tracer.errors import DictionaryError

LABELS_FILE = "labels.csv"
WHERE = ("last", "earlier")  # measured at the last position of a prompt, or at one before it
NEEDED = ("layer", "index", "where", "text")
SCORES = {"f1": "F1", "precision": "precision", "recall": "recall"}  # column -> how a note calls it
TYPES: dict[Hashable, type] = {"layer": int, "index": int, "where": str, "text": str, "concept": str, "note": str}
OPTIONAL = ("concept", "min_activation", "precision", "recall", "f1", "n", "note")


@dataclass(frozen=True)
class Label:
    """What one feature means at one place, and how well that was measured."""

    text: str
    note: str
    min_activation: float
    """Only an activation of at least this counts as firing."""


@dataclass(frozen=True)
class Labels:
    """All labels of one dictionary; empty where it has none."""

    by_feature: dict[tuple[int, int, str], Label] = field(default_factory=dict)
    """Keyed by layer, index and where."""

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> "Labels":
        """The labels in this dictionary folder.

        Raises:
            DictionaryError: labels.csv is there and cannot be understood.
        """
        path = Path(folder) / LABELS_FILE
        if not path.is_file():
            return cls()
        about = path.stat()
        return cls(_by_feature(path, about.st_size, about.st_mtime_ns))

    def of(self, layer: int, index: int, *, last: bool, activation: float) -> tuple[str, str]:
        """Label and note of an active feature; empty texts where nothing is known of it.

        >>> texas = Label("Texas", "F1 0.98", min_activation=2.0)
        >>> labels = Labels({(1, 7, "earlier"): texas})
        >>> labels.of(1, 7, last=False, activation=3.0), labels.of(1, 7, last=False, activation=1.0)
        (('Texas', 'F1 0.98'), ('', ''))
        """
        label = self.by_feature.get((layer, index, WHERE[0] if last else WHERE[1]))
        return ("", "") if label is None or activation < label.min_activation else (label.text, label.note)


@lru_cache(maxsize=8)  # many prompts are traced with one dictionary
def _by_feature(path: Path, size: int, changed_ns: int) -> dict[tuple[int, int, str], Label]:
    return {(r["layer"], r["index"], r["where"]): _label(r) for r in _read_table(path).to_dict("records")}


def _read_table(path: Path) -> pd.DataFrame:
    where = f"{path.parent.name}/{path.name}"
    try:
        table = pd.read_csv(path, dtype=TYPES, keep_default_na=False, na_values={c: [""] for c in OPTIONAL})
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DictionaryError(
            f"{where} cannot be read ({reason}); expected a table with commas. Fetch it again."
        ) from None
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise DictionaryError(
            f"{where} lacks the column {missing[0]!r}; expected {', '.join(NEEDED + OPTIONAL)}. "
            "Add it or remove the file."
        )
    unknown = set(table["where"]) - set(WHERE)
    if unknown:
        raise DictionaryError(
            f"{where}: where is {sorted(map(str, unknown))[0]!r}; expected {' or '.join(WHERE)}. Correct the file."
        )
    return table


def _label(row: dict) -> Label:
    known = {name: row[name] for name in OPTIONAL if name in row and not pd.isna(row[name])}
    measured = [f"{name} {known[key]:.2f}" for key, name in SCORES.items() if key in known]
    measured += [f"n={int(known['n'])}"] if "n" in known else []
    parts = [str(known.get("note", "")).strip(), ", ".join(measured)]
    return Label(str(row["text"]), "; ".join(filter(None, parts)), float(known.get("min_activation", 0)))
