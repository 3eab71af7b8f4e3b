"""The example notebooks run from top to bottom and show what their text promises."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from app.demo import NEEDED_FLOW
from ingest.load import read_graph

EXAMPLES = Path(__file__).parent.parent / "examples"


def run_notebook(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Run the code cells as a kernel does; returns the names they left and the values that they show."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        body = ast.parse("".join(cell["source"])).body
        last = body[-1]
        rest = body[:-1] if isinstance(last, ast.Expr) else body
        exec(compile(ast.Module(rest, []), path.name, "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
    return names, shown


def test_the_quickstart_runs_and_finds_its_circuit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, shown = run_notebook(EXAMPLES / "quickstart.ipynb")
    graph = names["graph"]
    assert "<svg" in graph._repr_html_() and any(value is graph for value in shown)
    assert names["circuit"].flow > NEEDED_FLOW
    assert "Dallas" in capsys.readouterr().out
    assert names["features"]["influence"].is_monotonic_decreasing
    assert read_graph(Path("dallas")).graph_id == graph.graph_id
    assert read_graph(Path("dallas.json")).graph_id == graph.pruned().graph_id
    assert shown[-1][2] == pytest.approx(graph.edges.effect[graph.edges.kept].max())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_says_how_to_use_a_gpu(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4 and not any(cell.get("outputs") for cell in book["cells"])
    text = "".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")
    assert "gemma-2-2b" in text and 'device="cuda"' in text
