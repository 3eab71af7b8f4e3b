"""The addresses that the dashboard's own process answers beside Streamlit's: graphs, files of them, and modules."""

import re
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.component import MODULE_ROUTE, MODULES
from app.exporting import exported
from app.featureframes import most_active
from app.featurelink import FeatureKey
from app.neighbours import links_of
from app.viewlink import parse_view
from tracer.errors import CircuitError, StoreError

GRAPH_ROUTE = "/throughline/graph"
EXPORT_ROUTE = "/throughline/export"  # the component makes its address, and the next, of that of the graph
LINKS_ROUTE = "/throughline/links"
FEATURE_ROUTE = "/throughline/feature"
LOOPBACK = ("127.0.0.1", "::1")
NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"} | NO_SNIFFING
FILE_TYPES = {"json": "application/json", "graphml": "application/xml", "csv": "application/zip"}


def graph_address(graph_id: str, version: str, node_ids: Sequence[str] = ()) -> str:
    """Where the browser finds a graph.

    Args:
        version: Changes when what is stored of the graph changes.
        node_ids: Nodes to send even where pruning dropped them or links between them.
    """
    query = {"v": version} | ({"with": ",".join(node_ids)} if node_ids else {})
    return f"{GRAPH_ROUTE}/{graph_id}.agv?{urlencode(query, safe=',')}"


async def graph(request: Request) -> Response:
    """The packed graph, or JSON {"error": one sentence} with status 404 or 503."""
    from app import cached  # when the server runs: Streamlit warns about caches made before

    given = request.query_params
    node_ids = tuple(node_id for node_id in given.get("with", "").split(",") if node_id)
    try:
        packed = await run_in_threadpool(cached.packed, request.path_params["graph_id"], given.get("v", ""), node_ids)
    except CircuitError as error:
        return _refusal(error)
    headers = dict(FOR_EVER)
    if request.client and request.client.host in LOOPBACK:
        headers["Content-Encoding"] = "identity"  # zipping 6 MB takes 500 ms, sending it to oneself takes none
    return Response(packed, media_type="application/octet-stream", headers=headers)


async def export(request: Request) -> Response:
    """The graph as a file to save, with `pins` and `groups` as the page Graph has them in its address."""
    from app import cached

    path, view = request.path_params, parse_view(dict(request.query_params))

    def written() -> tuple[bytes, str]:
        return exported(
            cached.graph(path["graph_id"], request.query_params.get("v", "")),
            path["format"],
            view["pins"],
            view["groups"],
        )

    try:
        body, name = await run_in_threadpool(written)
    except CircuitError as error:
        return _refusal(error)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "no-store",
    }
    return Response(body, media_type=FILE_TYPES[path["format"]], headers=headers | NO_SNIFFING)


async def links(request: Request) -> Response:
    """All links of the node `node` as JSON, pruned away or not: see `app.neighbours`."""
    from app import cached

    given = request.query_params

    def found() -> dict:
        return links_of(cached.graph(request.path_params["graph_id"], given.get("v", "")), given.get("node", ""))

    try:
        return JSONResponse(await run_in_threadpool(found), headers=FOR_EVER)
    except CircuitError as error:
        return _refusal(error)


async def feature(request: Request) -> Response:
    """Where the feature `f` (source_set/layer/index) is active, as JSON: see `app.featureframes.most_active`."""
    from app import cached

    def found() -> dict:
        key = FeatureKey.parse(request.query_params.get("f", ""))
        n_graphs = sum(row["source_set"] == key.source_set for row in cached.graphs())
        return most_active(cached.feature_prompts(key, cached.stamp()), n_graphs)

    try:
        return JSONResponse(await run_in_threadpool(found), headers={"Cache-Control": "no-store"} | NO_SNIFFING)
    except CircuitError as error:
        return _refusal(error)


def _refusal(error: CircuitError) -> Response:
    return JSONResponse({"error": str(error)}, 503 if isinstance(error, StoreError) else 404)


async def module(request: Request) -> Response:
    """One of our own JavaScript modules."""
    name = request.path_params["name"]
    if not re.fullmatch(r"\w+", name) or not (MODULES / f"{name}.js").is_file():
        return JSONResponse({"error": f"there is no module {name!r}."}, 404)
    return Response((MODULES / f"{name}.js").read_text(), media_type="text/javascript", headers=FOR_EVER)


ROUTES = [
    Route(GRAPH_ROUTE + "/{graph_id:str}.agv", graph),
    Route(EXPORT_ROUTE + "/{graph_id:str}.{format:str}", export),
    Route(LINKS_ROUTE + "/{graph_id:str}.json", links),
    Route(FEATURE_ROUTE, feature),
    Route(MODULE_ROUTE + "/{version}/{name}.js", module),
]
