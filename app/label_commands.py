"""The commands that keep labels of features: import, export, edit, list."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from app.terminal import Format, notes, print_rows, progress_bar, say
from tracer.errors import CircuitError, PatternError

if TYPE_CHECKING:
    from ingest.labels import Label

labels = App(name="labels", help="What features are thought to mean: whose label, from which graph, and when.")


@labels.command(name="import")
def import_labels(
    file: Path | None = None,
    *,
    source: Annotated[Literal["neuronpedia"] | None, Parameter(name="--from")] = None,
    source_set: str = "",
    by: str = "",
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 200,
) -> None:
    """Take labels from a table, or fetch those of your graphs' unlabelled features from Neuronpedia.

    Args:
        file: CSV or JSON lines with source_set, layer, index, label and, if there, kind, by, graph_id and when, as
            `labels export` writes them. It is taken as a whole or not at all.
        source: neuronpedia: ask its public API, a request a second.
        source_set: For neuronpedia the dictionary, such as gemma-2-2b/clt-hp.
        by: Whose labels these are, where the table does not say; the name of the file if not given.
        limit: Most features to ask Neuronpedia for, the most frequent first.
    """
    from ingest.labels import Label, read_labels
    from ingest.library import default_library
    from ingest.neuronpedia import Neuronpedia, unlabelled_features

    if (file is None) == (source is None) or (source and not source_set):
        raise PatternError(
            "no labels were named; expected a file, or --from neuronpedia --source-set gemma-2-2b/clt-hp. Name one."
        )
    if file is not None:
        found: dict[str, list[Label]] = {}
        for name, label in read_labels(file, by):
            found.setdefault(name, []).append(label)
        _keep(found)
        return
    fetched: list[Label] = []
    try:
        features = unlabelled_features(source_set, default_library())[:limit]
        with progress_bar() as progress:
            for label in Neuronpedia().labels(source_set, features, progress):
                fetched.append(label)
    except CircuitError:  # what was fetched before the site wanted no more is kept and shown
        if fetched:
            _keep({source_set: fetched})
        raise
    _keep({source_set: fetched})


def _keep(found: dict[str, list["Label"]]) -> None:
    """Keep these labels of each dictionary, show them, and say how many were new."""
    from ingest.labels import LabelStore
    from ingest.library import default_library
    from ingest.load import relabel
    from ingest.store import open_store

    library = default_library()
    store = LabelStore(library)
    for name in found:
        store.of(name)  # raises before anything is kept where one of the files is damaged
    new = sum(store.add(name, some) for name, some in found.items())
    changed: list[str] = []
    unshown = [name for name in found if store.unshown(name)]  # of this command, or of one that was cut off
    if unshown and library.ids():
        with progress_bar() as progress, open_store(progress) as graphs:
            changed = [graph_id for name in unshown for graph_id in relabel(name, graphs, library, progress)]
    say(f"{new} new labels of {sum(map(len, found.values()))}; {len(changed)} graphs show them.")


@labels.command(name="export")
def export_labels(file: Path, *, source_set: str = "") -> None:
    """Write all labels and notes as a table; from it, `labels import` makes the same ones in another home.

    Args:
        file: The file to write: JSON lines where it ends in .jsonl, else CSV; one that is there is replaced.
        source_set: Only those of this dictionary.
    """
    from ingest.labels import LabelStore, label_rows, write_labels
    from ingest.library import default_library

    n = write_labels(file, label_rows(LabelStore(default_library()), source_set))
    say(f"{file}: {n} labels")


@labels.command(name="edit")
def edit_label(source_set: str, feature: str, label: str, *, by: str = "") -> None:
    """Say what a feature means; shown from now on wherever it occurs. Earlier labels are kept.

    Args:
        source_set: The dictionary, as `throughline list` shows it.
        feature: layer/index, such as 20/15589.
        label: The text; an empty one shows none.
        by: Whose label it is; your user name if not given.
    """
    from ingest.labels import Label, LabelStore, now
    from ingest.library import default_library
    from ingest.load import relabel
    from ingest.store import open_store

    _check_texts(source_set, label, by)
    library = default_library()
    edit = Label(*_place(feature), label, "edit", by or getpass.getuser(), "", now())
    LabelStore(library).add(source_set, [edit])
    changed: list[str] = []
    if library.ids():
        with progress_bar() as progress, open_store(progress) as store:
            changed = relabel(source_set, store, library)
    say(f"{source_set} {feature}: {label!r}, shown in {len(changed)} graphs.")


@labels.command(name="note")
def note_feature(source_set: str, feature: str, note: str, *, by: str = "") -> None:
    """Write down what you think of a feature; shown on its page, below its labels. Earlier notes are kept.

    Args:
        source_set: The dictionary, as `throughline list` shows it.
        feature: layer/index, such as 20/15589.
        note: The text.
        by: Whose note it is; your user name if not given.
    """
    from ingest.labels import Label, LabelStore, now
    from ingest.library import default_library

    _check_texts(source_set, note, by)
    layer, index = _place(feature)
    if not note.strip():
        raise PatternError("the note is empty; expected a text. Write one.")
    kept = Label(layer, index, note.strip(), "note", by or getpass.getuser(), "", now())
    LabelStore(default_library()).add(source_set, [kept])
    say(f"{source_set} {feature}: noted by {kept.by}.")


def _check_texts(*texts: str) -> None:
    """Fail before anything is kept where a text is none; `main` says how."""
    for text in texts:
        text.encode()


def _place(feature: str) -> tuple[int, int]:
    from ingest.labels import LARGEST_INDEX

    layer, _, index = feature.partition("/")
    if not all(each.isascii() and each.isdecimal() and int(each) <= LARGEST_INDEX for each in (layer, index)):
        raise PatternError(f"{feature!r} is no feature; expected layer/index such as 20/15589. Correct it.")
    return int(layer), int(index)


@labels.command(name="list")
def list_labels(
    source_set: str = "",
    *,
    feature: str = "",
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 1000,
    format: Format = "table",
) -> None:
    """List labels with whose they are, from which graph and when; all that a feature has.

    Args:
        source_set: Only those of this dictionary.
        feature: Only those of this feature, layer/index.
        limit: Most rows to print.
        format: How rows are printed.
    """
    from ingest.labels import COLUMNS, LabelStore, label_rows
    from ingest.library import default_library

    rows = label_rows(LabelStore(default_library()), source_set)
    found = [dict(row) for row in rows if not feature or f"{row['layer']}/{row['index']}" == feature]
    print_rows(list(COLUMNS), found[:limit], format)
    if len(found) > limit:
        notes.print(f"Only the first {limit} of {len(found)} labels are shown; raise --limit for more.")
