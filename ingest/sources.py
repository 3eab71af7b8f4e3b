"""Where the bytes of one graph come from: a file, a gzipped file, or what a zip archive holds."""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ingest.static_folder import GRAPHS, LISTING
from tracer.errors import GraphFormatError
from tracer.graph import FILES

GRAPH_ENDINGS = (".json", ".json.gz", ".pt")
ARCHIVE = ".zip"
ENDINGS = (*GRAPH_ENDINGS, ARCHIVE)
MOST_PACKED = 200  # times its size a compressed file may hold; JSON of graphs packs 5 to 30 times, a bomb a thousand
ALWAYS_FINE = 64 << 20  # bytes that any file may unpack to
MOST_MEMBERS = 100_000  # of an archive


@dataclass(frozen=True)
class Source:
    """One file, or one member of an archive. No name in an archive is ever a name on disk, so none leads anywhere."""

    path: Path
    """The file itself, or the archive."""
    member: str = ""
    """The name inside the archive; empty for a file."""
    saved: bool = False
    """Whether it is a folder in the archive, or the whole archive, with the files of a saved graph."""

    @property
    def name(self) -> str:
        """The last part of the name, for messages."""
        return self.member.replace("\\", "/").rpartition("/")[2] or text_of(self.path.name)

    def beside(self, name: str) -> "Source":
        """The file of this name in the folder of a saved graph."""
        return replace(self, member=_inside(self.member, name), saved=False)

    def __str__(self) -> str:
        return text_of(f"{self.path}/{self.member}" if self.member else self.path)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes, unpacked where they are gzipped, whatever the name says.

        Raises:
            GraphFormatError: It cannot be read, is broken, or unpacks to far more than a graph of its size would.
        """
        try:
            with self._packed() as packed:
                begin = packed.read(2)
                packed.seek(0)
                if begin != b"\x1f\x8b":
                    yield packed
                    return
                with gzip.GzipFile(fileobj=packed) as unpacked:
                    yield io.BufferedReader(_Bounded(unpacked, self._size(), self.name))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise GraphFormatError(
                f"{self.name}: broken gzip ({error}); expected a graph in JSON, or JSON in gzip. Fetch the file again."
            ) from None
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # locked, or odd packing
            if isinstance(error, RecursionError):
                raise
            said = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise GraphFormatError(
                f"{self}: cannot be read ({said}); expected a graph in JSON. Check the path."
            ) from None

    def digest(self) -> tuple[str, int]:
        """SHA-256 and number of the bytes as they are on disk."""
        hashed, size = hashlib.sha256(), 0
        try:
            with self._packed() as packed:
                while chunk := packed.read(1 << 20):
                    hashed.update(chunk)
                    size += len(chunk)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise GraphFormatError(
                f"{self}: cannot be read ({said}); expected a graph in JSON. Check the path."
            ) from None
        return hashed.hexdigest(), size

    @contextmanager
    def _packed(self) -> Iterator[IO[bytes]]:
        if not self.member:
            with self.path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(self.path) as archive:
            if (n := archive.namelist().count(self.member)) > 1:
                raise GraphFormatError(
                    f"{self}: {n} members of the archive have this name; expected one. Unpack it, and give the file "
                    "that is meant."
                )
            with archive.open(self.member) as file:
                yield file

    def _size(self) -> int:
        if not self.member:
            return self.path.stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).compress_size


class _Bounded(io.RawIOBase):
    """Unpacked bytes that end with a refusal where there are far more than a graph would have."""

    def __init__(self, unpacked: gzip.GzipFile, size: int, name: str):
        self._unpacked, self._left, self._name, self._size = unpacked, most_unpacked(size), name, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        chunk = self._unpacked.read(len(buffer))
        self._left -= len(chunk)
        if self._left < 0:
            raise bomb(self._name, self._size)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def text_of(name: object) -> str:
    """A path, or a message with one in it, as text that can be written: bytes that are not UTF-8 become question marks.

    >>> text_of(Path("bad\\udcff.json"))  # so Python holds the byte 0xff
    'bad?.json'
    """
    return str(name).encode(errors="replace").decode()


def most_unpacked(size: int) -> int:
    """The most bytes that a file of this size may unpack to.

    >>> most_unpacked(1000) == 64 << 20, most_unpacked(1 << 30) == 200 << 30
    (True, True)
    """
    return max(ALWAYS_FINE, MOST_PACKED * size)


def bomb(name: str, size: int) -> GraphFormatError:
    return GraphFormatError(
        f"{name}: {size} bytes unpack to more than {most_unpacked(size)}; expected at most {MOST_PACKED} times their "
        "size. If it is a graph after all, unpack it yourself and give the file."
    )


def members(path: Path) -> list[Source]:
    """The saved graphs and graph files inside a zip archive, in order of name, and archives, which are not opened.

    Raises:
        GraphFormatError: It is no archive, is damaged, holds far more than its size allows, or none of these.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise GraphFormatError(
            f"{path}: broken zip ({error}); expected an archive of graph files. Fetch it again."
        ) from None
    size = path.stat().st_size
    if len(infos) > MOST_MEMBERS:
        raise GraphFormatError(
            f"{path}: {len(infos)} members; expected at most {MOST_MEMBERS}. Unpack it and give the folder."
        )
    if sum(info.file_size for info in infos) > most_unpacked(size):  # members may overlap, and each look small
        raise bomb(str(path), size)
    names = {info.filename for info in infos}
    saved = {folder for folder in map(_folder, names) if all(_inside(folder, name) in names for name in FILES)}
    files = {name for name in names if name.lower().endswith(ENDINGS) and _folder(name) not in saved}
    for root in (name.removesuffix(LISTING) for name in names if name == LISTING or name.endswith(f"/{LISTING}")):
        files -= {name for name in files if name.startswith(root) and not name.startswith(f"{root}{GRAPHS}/")}
    found = [Source(path, name) for name in files if not name.rpartition("/")[2].startswith("._")]
    found += [Source(path, folder, saved=True) for folder in saved]
    if not found:
        raise GraphFormatError(
            f"{path}: none of {len(infos)} members is a graph; expected saved graphs or files that end in "
            f"{', '.join(GRAPH_ENDINGS)}. Give an archive of these."
        )
    return sorted(found, key=lambda source: source.member)


def _folder(name: str) -> str:
    """The folder that a member of an archive lies in; empty for the archive itself."""
    return name.rpartition("/")[0]


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
