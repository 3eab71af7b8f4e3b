"""The library as one file: written whole or not at all, and checked to the last byte before anything of it is used."""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import fsspec

from circuits.kept import Kept, read_kept
from ingest import kept_circuits, labels, own_queries, views
from ingest.kept_circuits import KeptCircuits, keep_circuit
from ingest.library import Library
from ingest.load import keep_graph, read_saved, relabel
from ingest.own_queries import OwnQueries
from ingest.sources import Source
from ingest.store import GraphStore
from ingest.views import ViewStore
from ingest.writing import Progress
from tracer.errors import GraphFormatError, naming
from tracer.graph import FILES

FORMAT, VERSION = "throughline-library", 2
READ_VERSIONS = (1, VERSION)  # the first had graphs alone
MANIFEST = "manifest.json"
CHUNK = 1 << 20  # bytes
OTHER_FOLDERS = {labels.FOLDER, kept_circuits.FOLDER, own_queries.FOLDER, views.FOLDER}  # beside those of graphs
MANIFEST_LIMIT = 64 << 20  # bytes; 300 a file
_MEMBER = re.compile(
    rf"[0-9a-f]{{16}}/(?:{'|'.join(map(re.escape, FILES))})"
    rf"|{labels.FOLDER}/[\w~%-]+\.jsonl|{kept_circuits.FOLDER}/[0-9a-f]{{16}}\.json"
    rf"|{own_queries.FOLDER}/{own_queries.NAME}\.cypher|{views.FOLDER}/{views.VIEW_ID.pattern}\.json",
    re.ASCII,
)


@dataclass(frozen=True)
class Restored:
    """What became of one graph of an archive."""

    graph_id: str
    slug: str
    status: Literal["ingested", "updated", "unchanged", "left", "damaged"]
    """`left`: it is there with other labels, pins or names, which stay. `damaged`: it is not in the archive, and its
    files in the library cannot be read, so that it does not show the labels of the archive."""


def backup(library: Library, path: Path, progress: Progress | None = None) -> int:
    """Write everything in the library into an archive: graphs, labels, kept circuits, queries and views.

    Returns how many graphs.

    What is at `path` is replaced once the new archive is complete.

    Raises:
        GraphFormatError: A file is damaged; an archive that could not be restored is not written.
    """
    ids = library.ids()
    manifest: dict[str, Any] = {"format": FORMAT, "version": VERSION, "files": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with naming(path), zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed already
            for done, graph_id in enumerate(ids):
                if progress:
                    progress(done, len(ids), f"archiving {graph_id}")
                library.load(graph_id)  # raises for what is damaged
                for name in FILES:
                    manifest["files"][f"{graph_id}/{name}"] = _put(archive, library.place(graph_id), graph_id, name)
            for folder, name in _other_files(library):
                place = f"{library.root.rstrip('/')}/{folder}"
                manifest["files"][f"{folder}/{name}"] = _put(archive, place, folder, name)
            archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if progress:
        progress(len(ids), len(ids), "archived")
    return len(ids)


def restore(
    path: Path, store: GraphStore, library: Library, progress: Progress | None = None, replace: bool = False
) -> Iterator[Restored]:
    """Bring what is in an archive back into library and database; what is not in it stays.

    Labels are added to those that are there; the rule of `ingest.labels` then says which are shown. A graph whose files
    in the library are damaged becomes that of the archive, with what can be read of its own labels, pins and names
    where these are not to be replaced. A damaged one that the archive lacks stops nothing, and is told.

    Args:
        replace: Pins and names of graphs and circuits that are there become those of the archive, and so do edited
            and imported labels of every dictionary in it.

    Raises:
        GraphFormatError: It is no archive of this kind, or damaged; nothing was changed then.
    """
    check_archive(path, progress)
    with zipfile.ZipFile(path) as archive:
        names = sorted(_manifest(archive, path))
        ids = sorted({name.partition("/")[0] for name in names} - OTHER_FOLDERS)
        told, circuits = _other_contents(archive, names)
        kept_labels = labels.LabelStore(library)
        tell = kept_labels.put_back if replace else kept_labels.add
        for source_set, some in told.items():
            tell(source_set, some)
        were_there = bool(library.ids())
        for done, graph_id in enumerate(ids):
            if progress:
                progress(done, len(ids), f"restoring {graph_id}")
            graph = read_saved(Source(path, graph_id, saved=True))
            others = not replace and not library.is_current(graph)
            if others and (kept := library.intact(graph.graph_id)):
                store.add(kept)
                yield Restored(graph_id, graph.metadata.slug, "left")
                continue
            mended = library.salvaged(graph) if others else None
            yield Restored(graph_id, graph.metadata.slug, keep_graph(mended or graph, store, library, replace))
        damaged: dict[str, None] = {}
        for source_set in told:
            changes = kept_labels.unshown(source_set)
            if changes and were_there:  # for graphs that stayed as they were
                relabel(source_set, store, library, damaged=lambda graph_id, _: damaged.setdefault(graph_id))
            else:
                kept_labels.are_shown(changes)
        there = set() if replace else set(KeptCircuits(library).ids())
        for circuit in circuits:
            if circuit.kept_id not in there:
                keep_circuit(circuit, store, library)
        _restore_queries(archive, names, library, replace)
        for name in names:
            if name.startswith(f"{views.FOLDER}/"):
                ViewStore(library).add(json.loads(archive.read(name)))
        yield from (Restored(graph_id, "", "damaged") for graph_id in damaged)
    if progress:
        progress(len(ids), len(ids), "restored")


def check_archive(path: Path, progress: Progress | None = None) -> None:
    """Read an archive to its end and compare every file with its hash.

    Raises:
        GraphFormatError: It is no archive of this kind, or a file in it is missing, foreign or changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            expected = _manifest(archive, path)
            for done, (name, what) in enumerate(expected.items()):
                if progress:
                    progress(done, len(expected), "checking the archive")
                with archive.open(name) as file:
                    if _hashed(file, what["size"]) != what:
                        raise _damaged(path, f"{name} is not what its hash says")
    except (FileNotFoundError, IsADirectoryError):
        raise GraphFormatError(f"{path}: no file is there; expected one that `throughline backup` wrote.") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise _damaged(path, str(error)) from error


def _other_files(library: Library) -> Iterator[tuple[str, str]]:
    """Folder and name of each file of a library that belongs to no single graph. Raises where one is damaged."""
    kept_labels, circuits = labels.LabelStore(library), KeptCircuits(library)
    for source_set in kept_labels.source_sets():
        kept_labels.of(source_set)
        yield labels.FOLDER, labels.file_name(source_set)
    for kept_id in circuits.ids():
        circuits.load(kept_id)
        yield kept_circuits.FOLDER, f"{kept_id}.json"
    for name in OwnQueries(library).names():
        yield own_queries.FOLDER, f"{name}.cypher"
    for view_id in ViewStore(library).ids():
        ViewStore(library).get(view_id)
        yield views.FOLDER, f"{view_id}.json"


def _other_contents(archive: zipfile.ZipFile, names: list[str]) -> tuple[dict[str, list[labels.Label]], list[Kept]]:
    """The labels in an archive by dictionary, and the kept circuits in it."""
    told, circuits = {}, []
    for name in names:
        folder, _, file = name.partition("/")
        if folder == labels.FOLDER:
            told[labels.source_set_of(file)] = labels.labels_of_file(archive.read(name), name)
        elif folder == kept_circuits.FOLDER:
            circuits.append(read_kept(archive.read(name).decode("utf-8")))
    return told, circuits


def _restore_queries(archive: zipfile.ZipFile, names: list[str], library: Library, replace: bool) -> None:
    own = OwnQueries(library)
    there = set() if replace else set(own.names())
    for name in names:
        folder, _, file = name.partition("/")
        if folder == own_queries.FOLDER and file.removesuffix(".cypher") not in there:
            own.write(file.removesuffix(".cypher"), archive.read(name))


def _put(archive: zipfile.ZipFile, place: str, graph_id: str, name: str) -> dict[str, Any]:
    fs, path = fsspec.core.url_to_fs(place)
    digest, size = hashlib.sha256(), 0
    with fs.open(f"{path}/{name}", "rb") as source, archive.open(f"{graph_id}/{name}", "w", force_zip64=True) as out:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
    return {"sha256": digest.hexdigest(), "size": size}


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, dict[str, Any]]:
    """File in the archive -> its hash and size, where these are files of a library, whole graphs, and all there is."""
    names = archive.namelist()
    try:
        if archive.getinfo(MANIFEST).file_size > MANIFEST_LIMIT:
            raise ValueError
        about = json.loads(archive.read(MANIFEST))
        files = {name: {"sha256": what["sha256"], "size": what["size"]} for name, what in about["files"].items()}
        if about["format"] != FORMAT or about["version"] not in READ_VERSIONS:
            raise ValueError
    except (KeyError, ValueError, TypeError, AttributeError):
        raise _damaged(path, f"no {MANIFEST} of version {VERSION} is in it") from None
    if sorted(names) != sorted([*files, MANIFEST]):
        raise _damaged(path, "it has other files than its manifest says")
    strange = [name for name in files if not _MEMBER.fullmatch(name)]
    if strange:
        raise _damaged(
            path, f"{strange[0]!r} is no file of a saved graph, of labels, or of a kept circuit, query or view"
        )
    folders = [name.partition("/")[0] for name in files]
    in_graphs = [folder for folder in folders if folder not in OTHER_FOLDERS]
    if len(in_graphs) != len(set(in_graphs)) * len(FILES):
        raise _damaged(path, "not every graph in it has all of its files")
    return files


def _hashed(file: IO[bytes], size: int) -> dict[str, Any]:
    """Hash and size of a file; not read beyond the size that it should have."""
    digest, seen = hashlib.sha256(), 0
    while seen <= size and (chunk := file.read(CHUNK)):
        digest.update(chunk)
        seen += len(chunk)
    return {"sha256": digest.hexdigest(), "size": seen}


def _damaged(path: Path, seen: str) -> GraphFormatError:
    return GraphFormatError(
        f"{path}: {seen}; expected an archive as `throughline backup` wrote it. It is damaged or of another program: "
        "take another copy. Nothing was changed."
    )
