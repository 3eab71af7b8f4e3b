"""How long the link graph takes in the browser: to read and draw a graph, to answer a click and a movement."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, sync_playwright

from app.component import HERE, MODULES
from app.wire import pack_graph
from bench.measure import print_table
from tests.app.chromium import FLAGS, find_chromium
from tracer.graph import AttributionGraph, GraphMetadata
from tracer.schema import NodeKind

SIZES = ((500, 10_000), (2_000, 100_000), (5_000, 500_000))  # nodes, links
N_LAYERS, N_TOKENS, N_OUTPUTS = 26, 24, 10
CLICK_LIMIT_MS = 80  # what SPEC.md allows at 100,000 links

PAGE = b"""<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/style.css"><body><script type="module">
import { View } from "/view.js";
const began = performance.now(), view = new View(document.body);
await view.update({ data: { url: "/graph.agv", view: {}, nonce: 1 }, setStateValue() {} });
window.opened = performance.now() - began;
window.view = view;
</script>"""

MEASURE = """() => {
  const { view } = window, median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
  const timed = (work) => { const began = performance.now(); work(); return performance.now() - began; };
  const rows = [...Array(15).keys()].map((k) => Math.floor(((k + 1) * view.graph.n * 0.7) / 16));
  const click = median(rows.map((i) => timed(() => view.select(i))));
  const hover = median(rows.map((i) => timed(() => view.hover(i))));
  view.state.mode = "paths";
  return { opened: window.opened, click, hover, paths: median(rows.map((i) => timed(() => view.select(i)))) };
}"""


def random_graph(n_nodes: int, n_edges: int) -> AttributionGraph:
    """A graph of this size with few strong and many weak nodes, as real ones have."""
    rng = np.random.default_rng(0)
    n_inner = n_nodes - N_TOKENS - N_OUTPUTS
    kinds = [NodeKind.FEATURE] * (n_inner * 4 // 5) + [NodeKind.ERROR] * (n_inner - n_inner * 4 // 5)
    kinds += [NodeKind.TOKEN] * N_TOKENS + [NodeKind.LOGIT] * N_OUTPUTS
    layer = np.r_[rng.integers(0, N_LAYERS, n_inner), np.full(N_TOKENS, -1), np.full(N_OUTPUTS, N_LAYERS)]
    position = np.r_[rng.integers(0, N_TOKENS, n_inner), np.arange(N_TOKENS), np.full(N_OUTPUTS, N_TOKENS - 1)]
    weight = rng.pareto(1.2, n_nodes) + 0.1
    pairs = np.empty(0, np.int64)
    while len(pairs) < n_edges:
        source = rng.choice(n_nodes, 2 * n_edges, p=weight / weight.sum())
        target = rng.integers(0, n_nodes, 2 * n_edges)
        fits = (layer[source] < layer[target]) & (position[source] <= position[target])
        pairs = np.unique(np.r_[pairs, source[fits] * n_nodes + target[fits]])
    source, target = np.divmod(rng.permutation(pairs)[:n_edges], n_nodes)
    nodes = pd.DataFrame({"node_id": [f"n{at}" for at in range(n_nodes)], "kind": [str(kind) for kind in kinds]})
    nodes = nodes.assign(layer=layer, position=position, index=range(n_nodes), influence=rng.random(n_nodes) ** 8)
    nodes["label"] = [f" word{at % 40}" if kind != NodeKind.ERROR else "" for at, kind in enumerate(kinds)]
    tokens = tuple(f" word{at}" for at in range(N_TOKENS))
    about = GraphMetadata("random", "".join(tokens), tokens, "none", "none", N_LAYERS)
    return AttributionGraph.build(nodes, source, target, rng.laplace(0.02, 0.25, n_edges), about)


def measure(browser: Browser, packed: bytes) -> dict[str, float]:
    """Milliseconds to open this graph, and medians of a click, a click over all paths, and a movement."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(packed))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    page.wait_for_function("window.view", timeout=60_000)
    times = page.evaluate(MEASURE)
    page.close()
    server.shutdown()
    return times


def _handler(packed: bytes) -> type[BaseHTTPRequestHandler]:
    """Answers for the page, the style sheet, our modules and one graph."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            kind = {"js": "text/javascript", "css": "text/css"}.get(name.rpartition(".")[2], "text/html")
            body = packed if name == "graph.agv" else PAGE if not name else self._file(name)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, name: str) -> bytes:
            path = HERE / name if name.endswith(".css") else MODULES / name
            return path.read_bytes() if path.is_file() else b""

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def main() -> None:
    """Print one row per size of graph."""
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(playwright), headless=True, args=FLAGS)
        for n_nodes, n_edges in SIZES:
            times = measure(browser, pack_graph(random_graph(n_nodes, n_edges)))
            slow = " (too slow)" if n_edges <= 100_000 and times["click"] > CLICK_LIMIT_MS else ""
            cells = [f"{times[name]:.0f}" for name in ("opened", "click", "paths")] + [f"{times['hover']:.1f}"]
            rows.append([f"{n_nodes:,} / {n_edges:,}", cells[0], cells[1] + slow, *cells[2:]])
        browser.close()
    print_table(["nodes / links", "read and draw, ms", "click, ms", "click over all paths, ms", "hover, ms"], rows)


if __name__ == "__main__":
    main()
