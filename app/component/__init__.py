"""The parts of the dashboard that draw on a canvas: Python mounts them, `js/` does the work in the browser."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from streamlit.components.v2 import component

HERE = Path(__file__).parent
MODULES = HERE / "js"
MODULE_ROUTE = "/throughline/js"


@cache
def modules_version() -> str:
    """A hash over all modules: it stands in their address, so that a browser may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted(MODULES.glob("*.js")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def link_graph(
    url: str, view: dict[str, Any], nonce: int, *, key: str = "link_graph"
) -> tuple[dict | None, dict | None]:
    """The link graph with its connections, circuit and details.

    Args:
        url: Address of the graph on this server, in the format of `app.wire`.
        view: What to show at first, or again whenever `nonce` changes, named as in `app.viewlink`.

    Returns:
        What the person made of it since, with `g` (the graph_id) and the `nonce` it started from, None before the first
        change; and what the person wants to be kept just now, as `app.keeping` takes it, mostly None.
    """
    data = {"module": _address("view"), "url": url, "view": view, "nonce": nonce}
    told = _mount("throughline_graph")(
        key=key, data=data, on_view_change=lambda: None, on_order_change=lambda: None
    )  # fmt: skip
    return told.view, told.order


def compact_graph(url: str, facing: str, colour: str, by: str, *, key: str) -> None:
    """One of two link graphs side by side, which select together; without the other panes.

    Args:
        url: Address of the graph.
        facing: Address of the other one; what that lacks is coloured here.
        colour: `pos` or `neg`, of the style sheet.
        by: What makes nodes of both the same, of `circuits.aligned.By`.
    """
    data = {"module": _address("view"), "url": url, "view": {}, "nonce": 1}
    _mount("throughline_graph")(key=key, data=data | {"facing": facing, "colour": colour, "by": by})


def net(nodes: list[dict], links: list[dict], *, height: int = 380, key: str) -> None:
    """A small picture of nodes and the links between them, such as one path or what a query returned.

    Args:
        nodes: Each with id, name, and where known kind, layer, position, note.
        links: Each with source and target (ids), and where known share (signed) and note.
    """
    data = {"module": _address("net"), "nodes": nodes, "links": links, "height": height}
    _mount("throughline_net")(key=key, data=data)


def cypher_editor(
    text: str, nonce: int, words: dict[str, Any], insert: dict[str, Any], *, key: str
) -> tuple[str, bool]:
    """A text field that knows Cypher: colours, brackets that belong together, completion.

    Args:
        text: What to show at first, or again whenever `nonce` changes.
        words: `labels`, `types` and `properties` with their counts: what is offered for completion.
        insert: `text` is put at the caret whenever its `nonce` changes.

    Returns:
        The text as the person has it, and whether Ctrl+Enter was pressed just now.
    """
    data = {"module": _address("editor"), "text": text, "nonce": nonce, "words": words, "insert": insert}
    told = _mount("throughline_editor")(
        key=key, data=data, on_text_change=lambda: None, on_run_change=lambda: None
    )  # fmt: skip
    for sent, ran in ((told.run, True), (told.text, False)):
        if sent and sent["nonce"] == nonce:
            return sent["text"], ran
    return text, False


def _address(module: str) -> str:
    return f"{MODULE_ROUTE}/{modules_version()}/{module}.js"


@cache
def _mount(name: str) -> Any:
    """Register a component once per process; several on one page share it."""
    script, style = (HERE / "mount.js").read_text(), (HERE / "style.css").read_text()
    return component(name, js=script, css=style)
