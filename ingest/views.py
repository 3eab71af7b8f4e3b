"""Long views of graphs, kept beside the library so that a link can name one: a small JSON file each."""

import hashlib
import json
import re
from collections.abc import Mapping

import fsspec

from ingest.library import Library
from tracer.errors import GraphFormatError, StoreError

FOLDER = "views"  # in the library, so that a team that shares it shares them
VIEW_ID = re.compile("[0-9a-f]{12}")


class ViewStore:
    """Texts by name, as a link would hold them, under an id made of their content."""

    def __init__(self, library: Library):
        self._root = f"{library.root.rstrip('/')}/{FOLDER}"
        self._fs, self._path = fsspec.core.url_to_fs(self._root)

    def add(self, view: Mapping[str, str]) -> str:
        """Keep a view; the same view gets the same id.

        Raises:
            StoreError: It cannot be written (no room, no rights).
        """
        body = json.dumps(dict(sorted(view.items())), ensure_ascii=False).encode()
        view_id = hashlib.sha256(body).hexdigest()[:12]
        place = self._place(view_id)
        try:
            if not self._fs.exists(place):
                self._fs.makedirs(self._path, exist_ok=True)
                self._fs.pipe_file(f"{place}.part", body)
                self._fs.mv(f"{place}.part", place)
        except OSError as error:
            raise StoreError(
                f"a view cannot be kept in {self._root}: {error.strerror or error}; expected room and the right to "
                "write there. Make room, or pin less."
            ) from error
        return view_id

    def ids(self) -> list[str]:
        """The kept views."""
        places = self._fs.ls(self._path, detail=False) if self._fs.isdir(self._path) else []
        names = [str(place).rpartition("/")[2].removesuffix(".json") for place in places]
        return sorted(name for name in names if VIEW_ID.fullmatch(name))

    def get(self, view_id: str) -> dict[str, str]:
        """A kept view.

        Raises:
            GraphFormatError: There is none of this id, or its file is damaged.
        """
        try:
            if not VIEW_ID.fullmatch(view_id):
                raise ValueError
            view = json.loads(self._fs.cat_file(self._place(view_id)))
            return {str(name): str(text) for name, text in view.items()}
        except (OSError, ValueError, AttributeError):
            raise GraphFormatError(
                f"there is no view {view_id!r} in {self._root}; expected one that a long link of this library named. "
                "Open the link where it was made, or choose a graph."
            ) from None

    def _place(self, view_id: str) -> str:
        return f"{self._path}/{view_id}.json"
