"""SmallFiles: what a library has beside its graphs, a folder for each kind: a team that shares it shares them all."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec

from ingest.library import Library
from tracer.errors import StoreError


class SmallFiles:
    """The files of one kind in a library, by name; each is written whole or not at all.

    Args:
        folder: Where they are in the library.
        ending: Of every file of the kind, with its dot.
    """

    def __init__(self, library: Library, folder: str, ending: str):
        self.root = f"{library.root.rstrip('/')}/{folder}"
        self.ending = ending
        self.fs, self.path = fsspec.core.url_to_fs(self.root)

    def names(self) -> list[str]:
        """The names of all, sorted, without their ending."""
        places = self.fs.ls(self.path, detail=False) if self.fs.isdir(self.path) else []
        files = (str(place).rstrip("/").rpartition("/")[2] for place in places)
        return sorted(file.removesuffix(self.ending) for file in files if file.endswith(self.ending))

    def read(self, name: str) -> bytes:
        """The content of one. Raises OSError where it is not there."""
        return self.fs.cat_file(self.place(name))

    def write(self, name: str, content: bytes, what: str, remedy: str) -> None:
        """Write one, in place of one of this name.

        Args:
            what: It is, for the message.
            remedy: For whoever reads that it cannot be written.

        Raises:
            StoreError: There is no room, or no right to write; what was there is untouched.
        """
        part = f"{self.path}/{uuid.uuid4().hex}.part"
        with self.writing(what, remedy):
            self.fs.makedirs(self.path, exist_ok=True)
            try:
                self.fs.pipe_file(part, content)
                self.fs.mv(part, self.place(name))
            except OSError:
                if self.fs.exists(part):
                    self.fs.rm(part)
                raise

    @contextmanager
    def writing(self, what: str, remedy: str) -> Iterator[None]:
        """Turn what the file system says within the block into a StoreError; as for `write`."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{what} cannot be kept in {self.root}: {error.strerror or error}; expected room and the right to "
                f"write there. {remedy}"
            ) from error

    def remove(self, name: str) -> bool:
        """Delete one; False where there is none."""
        if name not in self:
            return False
        self.fs.rm(self.place(name))
        return True

    def place(self, name: str) -> str:
        """The path of one, whether it is there or not."""
        return f"{self.path}/{name}{self.ending}"

    def __contains__(self, name: str) -> bool:
        return self.fs.exists(self.place(name))
