"""The vocabulary, written once: node kinds, the node-id grammar, and each column with its unit.

The same snake_case name runs through dataclass field, Parquet column, Cypher property, row key and DataFrame column.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tracer.errors import GraphFormatError

SCHEMA_VERSION = 1  # raised when a saved graph or the store of an older version can no longer be read


class NodeKind(StrEnum):
    """What a node stands for. The order of the members is the order of nodes in every graph."""

    FEATURE = "feature"
    ERROR = "error"
    TOKEN = "token"
    LOGIT = "logit"
    BIAS = "bias"


class BiasIndex(IntEnum):
    """Which constant a bias node stands for: its `index`."""

    LAYER = 0
    POSITION = 1
    FIRST = 2
    OWN = 3

    @property
    def label(self) -> str:
        """What to call it; a layer's gets its number."""
        return BIAS_LABELS[self]


BIAS_LABELS = {
    BiasIndex.LAYER: "biases of layer",  # attention, norms, decoders: what the block adds whatever it reads
    BiasIndex.POSITION: "position embeddings",
    BiasIndex.FIRST: "first position",  # MLP outputs there, where its features and errors are left out
    BiasIndex.OWN: "own bias",  # of the node it enters: encoder bias; for outputs of the unembedding and its norm
}
NODE_LABELS = {  # kind -> the second label of (:Node) in the database
    NodeKind.FEATURE: "ActiveFeature",
    NodeKind.ERROR: "Error",
    NodeKind.TOKEN: "Token",
    NodeKind.LOGIT: "Logit",
    NodeKind.BIAS: "Bias",
}


@dataclass(frozen=True)
class Column:
    """One column of a table: its NumPy type and what a value means, with unit."""

    dtype: str
    meaning: str


NODE_COLUMNS: dict[str, Column] = {
    "node_id": Column("str", "unique in its graph; see `node_id`"),
    "kind": Column("str", "one of NodeKind"),
    "layer": Column("int32", "-1 for tokens and for biases of no layer, n_layers for logits, else 0 to n_layers-1"),
    "position": Column("int32", "token position, from 0; -1 for biases, which have none"),
    "index": Column(
        "int64", "entry of the dictionary, or id in the vocabulary (above it: a difference); error: -1; bias: BiasIndex"
    ),
    "label": Column("str", "text of a token, output or bias; for a feature what it is thought to mean, or empty"),
    "label_note": Column("str", "where the label comes from and how well it was measured, or empty"),
    "activation": Column("float32", "value of the feature, NaN for other kinds"),
    "influence": Column("float32", "0 to 1: the chance that a walk back from the outputs visits the node"),
    "probability": Column("float32", "of the output token; 1 for a feature that is explained; else NaN"),
    "remainder": Column("float32", "(value - sum of effects into it) / sum of their sizes; NaN: nothing comes in"),
    "left_out": Column(
        "float32", "sum of the effects into it that max_feature_nodes and max_edges_per_node left out; NaN: unknown"
    ),
    "kept": Column("bool", "inside the pruned graph that is shown and stored in the database"),
}

EDGE_COLUMNS: dict[str, Column] = {
    "source": Column("int32", "row of the source in the nodes table"),
    "target": Column("int32", "row of the target in the nodes table"),
    "effect": Column("float32", "signed direct effect; logits where the target is a logit, else pre-activation units"),
    "share": Column("float32", "abs(effect) over the sum of abs(effect) into the target, over all inputs, 0 to 1"),
    "kept": Column("bool", "inside the pruned graph that is shown and stored in the database"),
}


def node_id(kind: NodeKind, layer: int, position: int, index: int, n_layers: int) -> str:
    """The name of a node in its graph, in the grammar of circuit-tracer 0.5 (where ids are unique).

    feature `layer_index_position`, error `layer_-1_position`, token `E_index_position`,
    logit `(n_layers + 1)_index_position`, bias `B_index_layer`.

    >>> node_id(NodeKind.FEATURE, 20, 10, 15589, 26), node_id(NodeKind.ERROR, 3, 10, -1, 26)
    ('20_15589_10', '3_-1_10')
    >>> node_id(NodeKind.TOKEN, -1, 9, 26865, 26), node_id(NodeKind.LOGIT, 26, 10, 22605, 26)
    ('E_26865_9', '27_22605_10')
    >>> node_id(NodeKind.BIAS, 3, -1, 0, 26)
    'B_0_3'
    """
    match kind:
        case NodeKind.TOKEN:
            return f"E_{index}_{position}"
        case NodeKind.LOGIT:
            return f"{n_layers + 1}_{index}_{position}"
        case NodeKind.ERROR:
            return f"{layer}_-1_{position}"
        case NodeKind.FEATURE:
            return f"{layer}_{index}_{position}"
        case NodeKind.BIAS:
            return f"B_{index}_{layer}"


def slug_of(text: str) -> str:
    """A short name for people, made of the first words of a text.

    >>> slug_of("Fact: the capital of the state containing Dallas is")
    'fact-the-capital-of-the-state-containing-dallas-is'
    """
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")[:60].strip("-") or "prompt"


def parse_kind(text: str) -> NodeKind:
    """The node kind of this name. Raises GraphFormatError with the names that exist."""
    try:
        return NodeKind(text)
    except ValueError:
        raise GraphFormatError(
            f"node kind {text!r} is unknown; expected one of {', '.join(NodeKind)}. Use one of these."
        ) from None
