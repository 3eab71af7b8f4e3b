"""Labels of features with whose they are, from which graph and when: one file of JSON lines for each dictionary.

Two labels of one feature are both kept. Shown at a node is, in this order: the newest edit of its feature; what the
file of the graph itself says; the newest label that was imported (a table, or Neuronpedia). Labels of one graph are
listed for others, but never shown there unasked: what a feature means in one prompt is a guess about another. What
somebody edited elsewhere comes with a graph as that graph's label, by its author.
"""

import csv
import dataclasses
import io
import json
import math
import re
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

from ingest.documents import number_in, short, whole_characters
from ingest.library import GRAPH_ID, Library, alone
from ingest.replacing import replacing
from ingest.small_files import SmallFiles
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

FOLDER, ENDING = "labels", ".jsonl"  # in the library
LARGEST_INDEX = 2**53 - 1  # of a layer or an entry of it: what every program that reads tables can hold
LONGEST = 200  # characters of the name of a file, which may have 255 with its endings
UNSHOWN = ".unshown"  # beside a file of labels: a change of it that graphs may not show yet
LABELS, MAKE_ROOM = "labels", "Make room; all labels kept before are still there."
COLUMNS = ("source_set", "layer", "index", "label", "kind", "by", "graph_id", "when")
EDITED, IMPORTED = "edited by", "imported from"
Kind = Literal["edit", "graph", "import", "note"]
SHOWN = ("edit", "import")  # kinds that are shown in every graph, unlike labels of one graph
NOTE = re.compile(rf"(?:{EDITED}|{IMPORTED}) (.*), (\d{{4}}-\d\d-\d\d)", re.DOTALL)  # as `LabelStore.shown` writes it


@dataclass(frozen=True)
class Label:
    """What somebody thinks a feature means."""

    layer: int
    """Of the feature in its dictionary."""
    index: int
    """Its number in this layer."""
    label: str
    """The text; empty in an edit that takes the label away."""
    kind: Kind
    """How it came: typed here, with a graph, or from a table or Neuronpedia. A note is more than a name: what somebody
    thinks of the feature, shown on its page and nowhere as its label."""
    by: str = ""
    """Whose it is."""
    graph_id: str = ""
    """The graph it came with."""
    when: str = ""
    """ISO 8601, when it came here first."""

    @property
    def feature(self) -> tuple[int, int]:
        """Layer and index."""
        return self.layer, self.index


class LabelStore:
    """The labels that are kept beside the graphs of a library."""

    def __init__(self, library: Library):
        self._files = SmallFiles(library, FOLDER, ENDING)
        self._unshown = SmallFiles(library, FOLDER, UNSHOWN)

    def source_sets(self) -> list[str]:
        """The dictionaries of which there are labels, sorted."""
        return sorted(map(source_set_of, self._files.names()))

    def of(self, source_set: str) -> list[Label]:
        """All labels of a dictionary in the order in which they came.

        Raises:
            GraphFormatError: The file of this dictionary was damaged.
        """
        name = _name(source_set)
        return labels_of_file(self._files.read(name), self._files.place(name)) if name in self._files else []

    def add(self, source_set: str, labels: Iterable[Label]) -> int:
        """Keep these labels, those that are not there yet; returns how many were new.

        Raises:
            StoreError: They cannot be written; those kept before are untouched.
        """
        labels = list(labels)
        if not labels:
            return 0
        with self._locked():
            kept = self.of(source_set)
            known = {_identity(label): None for label in kept}
            new = [label for label in labels if _is_new(known, label)]
            if any(label.kind in SHOWN for label in new):
                self._mark(source_set, [])
            if new:
                self._write(source_set, kept + new)
        return len(new)

    def take(self, graph: AttributionGraph) -> None:
        """Keep the labels that came with a graph, but for those that were edited or imported here and shown at it."""
        source_set = graph.metadata.source_set
        ours = {(each.feature, each.label, each.by) for each in self.of(source_set) if each.kind != "graph"}
        found = labels_in(graph)
        self.add(source_set, [each for each in found if (each.feature, each.label, each.by) not in ours])

    def put_back(self, source_set: str, labels: Iterable[Label]) -> bool:
        """Let edits and imports be those among these labels and no others; returns whether anything changed.

        Notes stay: nobody's note stands in the place of another.

        Raises:
            StoreError: They cannot be written; those kept before are untouched.
        """
        labels = list(labels)
        with self._locked():
            kept = self.of(source_set)
            wanted = {_identity(label) for label in labels}
            rest = [label for label in kept if label.kind in ("graph", "note") or _identity(label) in wanted]
            known = {_identity(label): None for label in rest}
            put = rest + [label for label in labels if _is_new(known, label)]
            if put != kept:
                there = set(put)
                self._mark(source_set, [label for label in kept if label not in there])
                self._write(source_set, put)
        return put != kept

    def unshown(self, source_set: str) -> dict[str, list[Label]]:
        """Each change of what is shown of a dictionary that `relabel` has not brought to all graphs: labels it took."""
        names = [name for name in self._unshown.names() if name.partition(".")[0] == _name(source_set)]
        return {name: labels_of_file(self._unshown.read(name), self._unshown.place(name)) for name in names}

    def are_shown(self, changes: Iterable[str]) -> None:
        """All graphs show what these changes brought."""
        for name in changes:
            self._unshown.remove(name)

    def shown(self, graph: AttributionGraph) -> AttributionGraph:
        """The graph with the labels that are to be shown, by the rule above."""
        labels = sorted(self.of(graph.metadata.source_set), key=lambda each: each.when)  # the newest comes last
        edits, imports = ({each.feature: each for each in labels if each.kind == kind} for kind in ("edit", "import"))
        if not edits and not imports:
            return graph

        def seen(feature: tuple[int, int], text: str, note: str) -> tuple[str, str]:
            if edit := edits.get(feature):
                return edit.label, _note(edit)
            if (not text or note.startswith(IMPORTED)) and (found := imports.get(feature)):
                return found.label, _note(found)
            return text, note

        return _relabelled(graph, seen)

    def without(self, graph: AttributionGraph, gone: Collection[Label]) -> AttributionGraph:
        """The graph with the label that came with it in place of each of these edits and imports that it shows.

        What was said of that label, how well it was measured, is not kept and does not come back.
        """
        shown = {(each.feature, each.label, _note(each)) for each in gone if each.kind in SHOWN}
        if not shown:
            return graph
        own: dict[tuple[int, int], str] = {}
        for each in self.of(graph.metadata.source_set):
            if each.kind == "graph" and each.graph_id == graph.graph_id:
                own.setdefault(each.feature, each.label)

        def seen(feature: tuple[int, int], text: str, note: str) -> tuple[str, str]:
            return (own.get(feature, ""), "") if (feature, text, note) in shown else (text, note)

        return _relabelled(graph, seen)

    def _write(self, source_set: str, labels: list[Label]) -> None:
        self._files.write(_name(source_set), _lines(labels), LABELS, MAKE_ROOM)

    def _mark(self, source_set: str, gone: list[Label]) -> None:
        """Note a change before it is made, in a file of its own: `relabel` may be at work, which takes away its own."""
        self._unshown.write(f"{_name(source_set)}.{uuid.uuid4().hex}", _lines(gone), LABELS, MAKE_ROOM)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._files.writing(LABELS, MAKE_ROOM), alone(self._files.fs, self._files.path):
            yield


def label_findings(library: Library) -> Iterator[str]:
    """Each file of labels that cannot be read."""
    labels = LabelStore(library)
    for source_set in labels.source_sets():
        try:
            labels.of(source_set)
        except GraphFormatError as error:
            yield str(error)


def file_name(source_set: str) -> str:
    """The name of the file with the labels of a dictionary, which has nothing but ASCII and leads nowhere else.

    >>> file_name("gemma/16k"), source_set_of("gemma%2F16k.jsonl")
    ('gemma%2F16k.jsonl', 'gemma/16k')
    """
    return _name(source_set) + ENDING


def _lines(labels: Iterable[Label]) -> bytes:
    return b"".join(json.dumps(asdict(label), ensure_ascii=False).encode() + b"\n" for label in labels)


def _name(source_set: str) -> str:
    name = quote(source_set, safe="").replace(".", "%2E")
    if len(name) > LONGEST:
        raise GraphFormatError(
            f"the dictionary {short(source_set)} has a name of {len(source_set):,} characters; expected one that fits "
            f"into the name of a file ({LONGEST} characters, three for each that is not ASCII). Shorten it."
        )
    return name


def source_set_of(name: str) -> str:
    """The dictionary whose labels a file of this name has."""
    return unquote(name.removesuffix(ENDING))


def labels_of_file(content: bytes, place: str) -> list[Label]:
    """The labels of one file. Raises GraphFormatError, with the name of the place, where they are none."""
    lines = content.split(b"\n")  # not splitlines: a label may hold other ends of lines
    try:
        return [Label(**json.loads(line)) for line in lines if line]
    except (ValueError, TypeError, RecursionError) as error:
        raise GraphFormatError(
            f"{place}: not labels ({short(str(error))}); expected a JSON object with layer, index, label and kind "
            "on each line. Correct the line, or move the file away: labels of graphs come back with their ingest."
        ) from None


def labels_in(graph: AttributionGraph) -> list[Label]:
    """The labels that came with a graph, each once; one that somebody edited, or imported, is by its author."""
    provenance, nodes = graph.metadata.provenance, graph.nodes
    info = provenance.get("about", {}).get("info")
    creator = info.get("creator_name") if isinstance(info, dict) else None
    by = creator if isinstance(creator, str) and creator.strip() else graph.metadata.origin
    rows = graph.slice_of(NodeKind.FEATURE)
    columns = (nodes[name].tolist()[rows] for name in ("layer", "index", "label", "label_note"))
    found = {}
    for layer, index, text, note in zip(*columns, strict=True):
        if text.strip():
            whose, when = _author(note) or (by, now())
            found.setdefault((layer, index, text, whose), when)
    return [
        Label(layer, index, text, "graph", whose, graph.graph_id, when)
        for (layer, index, text, whose), when in found.items()
    ]


def read_labels(path: Path, by: str = "") -> list[tuple[str, Label]]:
    """(source_set, label) of each row of a table: CSV with a head, or JSON lines, as `labels export` writes them.

    Columns are source_set, layer, index (or feature_index), label and, if there, kind (else import), by, graph_id and
    when.

    Raises:
        GraphFormatError: The file cannot be read, or a row has a value that cannot be used; says which.
    """
    found = []
    for at, row in enumerate(_rows(path), start=1):
        try:
            found.append(_label_of(row, by or path.name))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise GraphFormatError(
                f"{path}: row {at} cannot be used ({error}); expected source_set, layer, index and label. Correct it. "
                "Nothing of the table was taken."
            ) from None
    return found


def write_labels(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write labels as CSV, or as JSON lines where the name ends in `.jsonl`; returns how many."""
    written = 0
    with replacing(path) as raw:
        out = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        # texts in quotes: Python 3.11 leaves a carriage return bare, which it then reads as the end of a row
        table = csv.DictWriter(out, list[str](COLUMNS), lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        if path.suffix != ".jsonl":
            table.writeheader()
        for row in rows:
            if path.suffix == ".jsonl":
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            else:
                table.writerow(row)
            written += 1
        out.flush()
        out.detach()
    return written


def label_rows(store: LabelStore, source_set: str = "") -> Iterator[dict[str, Any]]:
    """Every label as a row with its dictionary."""
    for name in [source_set] if source_set else store.source_sets():
        yield from ({"source_set": name} | asdict(label) for label in store.of(name))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix in (".jsonl", ".ndjson"):
                yield from (whole_characters(Counter(), json.loads(line)) for line in file if line.strip())
            else:
                csv.field_size_limit(1 << 30)  # labels may be long
                yield from csv.DictReader(file)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        if isinstance(error, OSError) and error.strerror is None:
            raise
        raise GraphFormatError(
            f"{path}: cannot be read ({short(str(error))}); expected a table of labels as CSV or JSON lines. Check it."
        ) from None


def _label_of(row: dict[str, Any], by: str) -> tuple[str, Label]:
    """(source_set, label) of a row; by this author where it names none. Raises for what cannot be used."""
    source_set, label, kind = str(row["source_set"]), row["label"], row.get("kind") or ""
    if not kind:  # not from `labels export`: the shared table writes model:set
        source_set, kind = source_set.strip(), "import"
        source_set = source_set if "/" in source_set else source_set.replace(":", "/", 1)
    if kind not in get_args(Kind):
        raise ValueError(f"kind {short(kind)} is none of {', '.join(get_args(Kind))}")
    if not source_set or not isinstance(label, str) or not (label.strip() or kind == "edit"):
        raise ValueError("an empty value")
    graph_id = str(row.get("graph_id") or "") if kind == "graph" else ""
    if kind == "graph" and not GRAPH_ID.fullmatch(graph_id):
        raise ValueError(f"graph_id {short(graph_id)} is not 16 hex digits")
    index = row["index"] if row.get("index") not in (None, "") else row["feature_index"]
    when = _moment(str(row["when"])) if row.get("when") else now()
    return source_set, Label(_count(row["layer"]), _count(index), label, kind, str(row.get("by") or by), graph_id, when)


def _moment(text: str) -> str:
    """A time in the forms that labels have, which sort as texts; one to come is now, or no later edit could win."""
    moment = datetime.fromisoformat(text)
    if moment.date().isoformat() != text:
        text = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")
    return min(text, now())


def _count(value: Any) -> int:
    number = math.nan if isinstance(value, bool) else number_in(str(value))
    if not (0 <= number <= LARGEST_INDEX and number == int(number)):
        raise ValueError(f"{short(value)} is no whole number from 0")
    return int(number)


def _relabelled(
    graph: AttributionGraph, seen: Callable[[tuple[int, int], str, str], tuple[str, str]]
) -> AttributionGraph:
    """The graph with other labels at its features: (feature, label, note) -> (label, note)."""
    nodes, rows = graph.nodes, graph.slice_of(NodeKind.FEATURE)
    texts, notes, layers, indices = (nodes[name].tolist() for name in ("label", "label_note", "layer", "index"))
    for row in range(rows.start, rows.stop):
        texts[row], notes[row] = seen((layers[row], indices[row]), texts[row], notes[row])
    return dataclasses.replace(graph, nodes=nodes.assign(label=texts, label_note=notes))


def _author(note: str) -> tuple[str, str] | None:
    """Whose edit or import this note tells of, and when; None where it tells of none, or of a day that never was."""
    if not (told := NOTE.fullmatch(note)):
        return None
    try:
        return told[1], _moment(told[2])
    except ValueError:
        return None


def _note(label: Label) -> str:
    """What stands beside an edit or import where it is shown; see NOTE."""
    return f"{EDITED if label.kind == 'edit' else IMPORTED} {label.by}, {label.when[:10]}"


def _identity(label: Label) -> tuple:
    when = label.when if label.kind in ("edit", "note") else ""  # an edit made again is newer
    return label.layer, label.index, label.label, label.kind, label.by, label.graph_id, when


def _is_new(known: dict[tuple, None], label: Label) -> bool:
    identity = _identity(label)
    is_new = identity not in known
    known[identity] = None
    return is_new
