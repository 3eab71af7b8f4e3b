"""What the tests of readers share."""

import json
from typing import Any

import pytest

from ingest.readers import read_graph_file
from tracer.graph import AttributionGraph


@pytest.fixture
def read(tmp_path):
    """Writes a document into a file and reads it."""

    def write_and_read(document: Any, name: str = "given.json") -> AttributionGraph:
        path = tmp_path / name
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return read_graph_file(path)

    return write_and_read
