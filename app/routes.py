"""The addresses that the dashboard's own process answers beside Streamlit's: packed graphs and JavaScript modules."""

import re
from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.component import MODULE_ROUTE, MODULES
from tracer.errors import CircuitError, StoreError

GRAPH_ROUTE = "/throughline/graph"
LOOPBACK = ("127.0.0.1", "::1")
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


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
        return JSONResponse({"error": str(error)}, 503 if isinstance(error, StoreError) else 404)
    headers = dict(FOR_EVER)
    if request.client and request.client.host in LOOPBACK:
        headers["Content-Encoding"] = "identity"  # zipping 6 MB takes 500 ms, sending it to oneself takes none
    return Response(packed, media_type="application/octet-stream", headers=headers)


async def module(request: Request) -> Response:
    """One of our own JavaScript modules."""
    name = request.path_params["name"]
    if not re.fullmatch(r"\w+", name) or not (MODULES / f"{name}.js").is_file():
        return JSONResponse({"error": f"there is no module {name!r}."}, 404)
    return Response((MODULES / f"{name}.js").read_text(), media_type="text/javascript", headers=FOR_EVER)


ROUTES = [
    Route(GRAPH_ROUTE + "/{graph_id:str}.agv", graph),
    Route(MODULE_ROUTE + "/{version}/{name}.js", module),
]
