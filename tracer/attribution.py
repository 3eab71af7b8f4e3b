"""attribute: the attribution graph of one prompt.

1. read the prompt; refuse what cannot be traced, before any heavy work
2. run the model once, freeze it, find active features and what the dictionary misses
3. choose the outputs and compute their rows of direct effects
4. compute the rows of the features: all of them, or the most influential by the rows known so far
5. prune, score, name the nodes
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tracer.config import TraceConfig
from tracer.graph import AttributionGraph, GraphMetadata
from tracer.influence import prune, scores
from tracer.labels import Labels
from tracer.ledger import Ledger, ledger_of
from tracer.prompt import encode_prompt, prompt_text, token_id, token_text
from tracer.provenance import Stopwatch, file_hashes, model_files, now_utc, peak_memory_mb, revision, versions
from tracer.replacement import LocalReplacement, Progress, ReplacementModel
from tracer.rows import FoundEdges, trace_rows
from tracer.schema import NodeKind, node_id, slug_of
from tracer.targets import OutputTargets, output_targets

log = logging.getLogger("tracer")


def attribute(
    prompt: str | Sequence[int],
    model: ReplacementModel,
    config: TraceConfig | None = None,
    *,
    slug: str = "",
    roles: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> AttributionGraph:
    """The attribution graph of one prompt: what writes how much into which feature and output, exactly.

    Args:
        prompt: A text, or token ids that are taken as they are.
        model: As `tracer.load` gives it; it decides device and number format.
        config: Choices and limits; defaults if not given.
        slug: Short name for people; made from the prompt if empty.
        roles: Known parts of the prompt, e.g. {"city": "Dallas"}.
        progress: Told (done, total, what) as work goes on.

    Raises:
        PromptError: The prompt or a target token cannot be traced.
        UnsupportedModelError: The model computes NaN on this prompt.
        DictionaryError: The dictionary's weights or labels are damaged.
    """
    watch, config = Stopwatch(), config or TraceConfig()
    token_P = encode_prompt(prompt, model.adapter)
    for text in config.target_tokens:
        token_id(text, model.adapter)
    labels = Labels.read(model.transcoders.folder)

    local = model.linearise(token_P, config.keep_first_position, progress)
    outputs = output_targets(model.adapter, local.forward.logits_PV, config)
    ledger = ledger_of(local) if config.bias_nodes else None
    if config.verbose:
        log.info("%d tokens, %d active features, %d outputs", local.n_pos, len(local.features), len(outputs.token_K))
    found, selected_A = trace_rows(local, outputs, config, progress, ledger)

    nodes, place = _nodes(model, local, outputs, ledger, selected_A, labels)
    nodes["remainder"] = _remainders(local, outputs, found, selected_A)[np.argsort(place)]
    source, target, effect = found.among(selected_A, len(nodes))
    source, target = place[source], place[target]
    weight_N, kind_N = _weights(nodes, config), nodes["kind"].to_numpy()
    pruning = prune(
        source, target, effect, kind_N, weight_N,
        node_threshold=config.node_threshold, edge_threshold=config.edge_threshold, keep_errors=config.keep_errors,
    )  # fmt: skip
    nodes["influence"] = np.minimum(pruning.influence_N + weight_N, 1)  # a walk visits the output that it starts at
    nodes["kept"] = pruning.kept_N
    graph_scores = scores(source, target, effect, kind_N, weight_N)
    text = prompt_text(prompt, token_P, model.adapter)
    tokens = tuple(token_text(int(token), model.adapter) for token in token_P)
    about = GraphMetadata(
        slug=slug or slug_of(text),
        prompt=text,
        tokens=tokens,
        model=model.adapter.name,
        source_set=model.source_set,
        n_layers=local.n_layers,
        complete=len(selected_A) == len(local.features),
        target=config.target,
        replacement_score=graph_scores.replacement,
        completeness_score=graph_scores.completeness,
        roles=dict(roles or {}),
        provenance=_provenance(model, token_P, config, len(local.features), watch),
    )
    return AttributionGraph.build(nodes, source, target, effect, about, pruning.kept_E)


def _nodes(
    model: ReplacementModel,
    local: LocalReplacement,
    outputs: OutputTargets,
    ledger: Ledger | None,
    selected_A: np.ndarray,
    labels: Labels,
) -> tuple[pd.DataFrame, np.ndarray]:
    """The nodes table without what pruning adds, and the row in it of each: of sources as traced, then of outputs."""
    tables = [_feature_nodes(local, selected_A, labels), _error_nodes(local)]
    tables.append(_token_nodes(model, local.forward.token_P))
    tables.append(_bias_nodes(ledger))
    tables.append(_output_nodes(model, local, outputs))
    nodes = pd.concat([table for table in tables if len(table)], ignore_index=True)
    kinds = list(NodeKind)
    order = np.argsort([kinds.index(kind) for kind in nodes["kind"]], kind="stable")
    nodes = nodes.iloc[order].reset_index(drop=True)
    columns = (nodes[name] for name in ("kind", "layer", "position", "index"))
    nodes["node_id"] = [node_id(*row, n_layers=local.n_layers) for row in zip(*columns, strict=True)]
    return nodes, np.argsort(order)


def _remainders(
    local: LocalReplacement, outputs: OutputTargets, found: FoundEdges, selected_A: np.ndarray
) -> np.ndarray:
    """(N,) what the effects into each node leave of its value, over the sum of their sizes; features left out count."""
    final_KD = local.frozen.final(local.forward.resid_final_PD)[outputs.position_K]
    value_K = (outputs.vector_KD * final_KD).sum(-1) + outputs.own_K
    sum_N, size_N = found.sums()
    value_N = np.full(len(sum_N), np.nan)
    value_N[: len(local.features)] = local.features.activation_A.double().cpu().numpy()
    value_N[len(value_N) - len(value_K) :] = value_K.double().cpu().numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        remainder_N = np.where(size_N > 0, (value_N - sum_N) / size_N, np.nan)
    return np.concatenate([remainder_N[selected_A], remainder_N[len(local.features) :]])


def _feature_nodes(local: LocalReplacement, selected_A: np.ndarray, labels: Labels) -> pd.DataFrame:
    features, rows = local.features, torch.from_numpy(selected_A).to(local.features.layer_A.device)
    columns = {name: getattr(features, f"{name}_A")[rows].cpu().numpy() for name in ("layer", "position", "index")}
    activation = features.activation_A[rows].float().cpu().numpy()
    named = [
        labels.of(layer, index, last=position == local.n_pos - 1, activation=value)
        for layer, position, index, value in zip(
            *(c.tolist() for c in columns.values()), activation.tolist(), strict=True
        )
    ]
    label, note = ([pair[i] for pair in named] for i in (0, 1))
    return pd.DataFrame(
        {"kind": NodeKind.FEATURE, **columns, "activation": activation, "label": label, "label_note": note}
    )


def _error_nodes(local: LocalReplacement) -> pd.DataFrame:
    layer, position = np.divmod(np.arange(local.n_layers * local.n_pos), local.n_pos)
    return pd.DataFrame(
        {"kind": NodeKind.ERROR, "layer": layer, "position": position, "index": -1, "label": "", "label_note": ""}
    )


def _token_nodes(model: ReplacementModel, token_P: Tensor) -> pd.DataFrame:
    ids = token_P.tolist()
    label = [token_text(token, model.adapter) for token in ids]
    return pd.DataFrame(
        {
            "kind": NodeKind.TOKEN,
            "layer": -1,
            "position": range(len(ids)),
            "index": ids,
            "label": label,
            "label_note": "",
        }
    )


def _bias_nodes(ledger: Ledger | None) -> pd.DataFrame:
    constants = ledger.constants if ledger else ()
    return pd.DataFrame(
        {
            "kind": NodeKind.BIAS,
            "layer": [constant.layer for constant in constants],
            "position": -1,
            "index": [int(constant.index) for constant in constants],
            "label": [constant.label for constant in constants],
            "label_note": "",
        }
    )


def _output_nodes(model: ReplacementModel, local: LocalReplacement, outputs: OutputTargets) -> pd.DataFrame:
    ids = outputs.token_K.tolist()
    return pd.DataFrame(
        {
            "kind": NodeKind.LOGIT,
            "layer": local.n_layers,
            "position": outputs.position_K.tolist(),
            "index": ids,
            "label": [token_text(token, model.adapter) for token in ids],
            "label_note": "",
            "probability": outputs.probability_K.float().cpu().numpy(),
        }
    )


def _weights(nodes: pd.DataFrame, config: TraceConfig) -> np.ndarray:
    """(N,) chance that a walk starts at a node: probabilities of outputs, scaled to sum to 1 unless told otherwise."""
    weight_N = np.nan_to_num(nodes["probability"].to_numpy(np.float64))
    return weight_N / weight_N.sum() if config.normalise_weights and weight_N.any() else weight_N


def _provenance(
    model: ReplacementModel, token_P: Tensor, config: TraceConfig, n_active: int, watch: Stopwatch
) -> dict[str, Any]:
    adapter, transcoders = model.adapter, model.transcoders
    settings = asdict(config) | {"device": str(adapter.device), "dtype": str(adapter.dtype).removeprefix("torch.")}
    return {
        "model": {
            "name": adapter.name,
            "revision": revision(adapter.folder),
            "files": file_hashes(model_files(adapter.folder)),
        },
        "dictionary": {
            "name": transcoders.name,
            "revision": revision(transcoders.folder),
            "files": file_hashes(transcoders.files),
        },
        "token_ids": token_P.tolist(),
        "config": settings | {"target_tokens": list(config.target_tokens)},
        "seed": None,  # nothing in a trace is random
        "n_active_features": n_active,
        "versions": versions(),
        "created": now_utc(),
        "wall_s": watch.elapsed_s,
        "peak_memory_mb": peak_memory_mb(),
    }
