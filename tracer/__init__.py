"""Trace one prompt through a transformer into an attribution graph.

    model = tracer.load("path/to/model", "path/to/transcoders")
    graph = tracer.attribute("Fact: the capital of the state containing Dallas is", model)

Dimension key (tensor names end in these letters, one per axis):
    L layer   P token position   D residual stream   F transcoder feature
    A active feature   K logit target   N graph node, in the order of `schema.NodeKind`   V vocabulary
    H attention head   G key/value head   E width of one head   B row of a batch of targets
    S source column: features, errors, tokens   W source that writes into one layer
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracer.attribution import attribute, expected_cost
    from tracer.config import TraceConfig
    from tracer.graph import AttributionGraph
    from tracer.loading import load

__all__ = ["AttributionGraph", "TraceConfig", "attribute", "expected_cost", "load"]

_HOME = {
    "attribute": "tracer.attribution",
    "expected_cost": "tracer.attribution",
    "load": "tracer.loading",
    "TraceConfig": "tracer.config",
    "AttributionGraph": "tracer.graph",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import tracer` must not load torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'tracer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
