"""Long views of graphs, kept beside the library so that a link can name one: a small JSON file each."""

import hashlib
import json
import re
from collections.abc import Mapping

from ingest.library import Library
from ingest.small_files import SmallFiles
from tracer.errors import GraphFormatError

FOLDER = "views"  # in the library
VIEW_ID = re.compile("[0-9a-f]{12}")


class ViewStore:
    """Texts by name, as a link would hold them, under an id made of their content."""

    def __init__(self, library: Library):
        self._files = SmallFiles(library, FOLDER, ".json")

    def add(self, view: Mapping[str, str]) -> str:
        """Keep a view; the same view gets the same id.

        Raises:
            StoreError: It cannot be written (no room, no rights).
        """
        body = json.dumps(dict(sorted(view.items())), ensure_ascii=False).encode()
        view_id = hashlib.sha256(body).hexdigest()[:12]
        if view_id not in self._files:
            self._files.write(view_id, body, "a view", "Make room, or pin less.")
        return view_id

    def ids(self) -> list[str]:
        """The kept views."""
        return [name for name in self._files.names() if VIEW_ID.fullmatch(name)]

    def get(self, view_id: str) -> dict[str, str]:
        """A kept view.

        Raises:
            GraphFormatError: There is none of this id, or its file is damaged.
        """
        try:
            if not VIEW_ID.fullmatch(view_id):
                raise ValueError
            view = json.loads(self._files.read(view_id))
            return {str(name): str(text) for name, text in view.items()}
        except (OSError, ValueError, AttributeError):
            raise GraphFormatError(
                f"there is no view {view_id!r} in {self._files.root}; expected one that a long link of this library "
                "named. Open the link where it was made, or choose a graph."
            ) from None
