"""attribute: the attribution graph of one prompt.

1. read the prompt; refuse what cannot be traced, before any heavy work
2. run the model once, freeze it, find active features and what the dictionary misses
3. choose the outputs and compute their rows of direct effects
4. compute the rows of the features: all of them, or the most influential by the rows known so far
5. prune, score, name the nodes
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tracer.config import COST_SETTINGS, TARGET_SETTINGS, TraceConfig
from tracer.errors import SettingError, UnsupportedModelError
from tracer.estimate import Estimate, check_fits, sizes_of
from tracer.graph import AttributionGraph, GraphMetadata, weights_of
from tracer.influence import prune
from tracer.labels import Labels
from tracer.ledger import Ledger, ledger_of
from tracer.memory import Work, free_bytes, memory_told
from tracer.prompt import Prompt, encode_answer, encode_prompt, prompt_text, token_text
from tracer.provenance import (
    Stopwatch,
    file_hashes,
    fingerprint,
    model_files,
    now_utc,
    peak_memory_mb,
    revision,
    versions,
)
from tracer.replacement import LocalReplacement, Progress, ReplacementModel
from tracer.rows import FoundEdges, trace_rows
from tracer.schema import NodeKind, node_id, slug_of
from tracer.targets import Asked, OutputTargets, ask, find

log = logging.getLogger("tracer")
ROUNDING = 1e-12  # of the sizes: two sums of the same float32 numbers in another order differ by less
TRACE_VERSION = 2  # raised when the same inputs give another graph than before


def attribute(
    prompt: Prompt,
    model: ReplacementModel,
    config: TraceConfig | None = None,
    *,
    directions: Mapping[str, Any] | None = None,
    slug: str = "",
    roles: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> AttributionGraph:
    """The attribution graph of one prompt: what writes how much into which feature and output, exactly.

    Args:
        prompt: A text, token ids that are taken as they are, or messages that the tokenizer's chat template renders.
        model: As `tracer.load` gives it; it decides device and number format.
        config: Choices and limits; defaults if not given.
        directions: Directions to explain beside the tokens of `config.target_tokens`: names and (D,) vectors, read from
            the output of the final norm at `config.target_position`. A probe, or any mix of unembedding rows.
        slug: Short name for people; made from the prompt if empty.
        roles: Known parts of the prompt, e.g. {"city": "Dallas"}.
        progress: Told (done, total, what) as work goes on.

    Raises:
        PromptError: The prompt or a target cannot be traced.
        UnsupportedModelError: The model, or its frozen map, computes NaN on this prompt.
        DictionaryError: The dictionary's weights or labels are damaged.
        SettingError: The memory does not suffice, or `model` is something else.
    """
    watch, config = Stopwatch(), config or TraceConfig()
    say = log.info if config.verbose else log.debug
    token_P, asked, text = _read(prompt, model, config, directions)
    labels = Labels.read(model.transcoders.folder)

    with memory_told(work := Work(model.adapter.device, config.batch_size)):
        _check_fits(token_P, asked, model, config)
        local = model.linearise(token_P, config.keep_first_position, progress, logits_from=asked.position)
        targets = find(asked, model.adapter, local, config)
        ledger = ledger_of(local) if config.bias_nodes else None
        work.set_rows(local)
        say("%d tokens, %d active features, outputs: %s", local.n_pos, len(local.features), len(targets))
        found, selected_A = trace_rows(local, targets, config, progress, ledger)
        say("rows of %d features computed, %.1f s since the start", len(selected_A), watch.elapsed_s)

    nodes, place = _nodes(model, local, targets, ledger, selected_A, labels)
    row_N = np.concatenate([np.full(len(local.features), -1), place[len(selected_A) :]])
    row_N[selected_A] = place[: len(selected_A)]
    source, target, effect = found.in_rows(row_N)
    size_N, sum_N, nodes["remainder"] = _ledger_columns(local, targets, found, selected_A, place)
    nodes["left_out"] = _left_out(sum_N, size_N, target, effect)
    _check_finite(nodes, size_N, model)
    weight_N, kind_N = _weights(nodes, config), nodes["kind"].to_numpy()
    pruning = prune(
        source, target, effect, kind_N, weight_N, size_N if config.count_left_out else None,
        node_threshold=config.node_threshold, edge_threshold=config.edge_threshold, keep_errors=config.keep_errors,
    )  # fmt: skip
    nodes["influence"] = np.minimum(pruning.influence_N + weight_N, 1)  # a walk visits the output that it starts at
    nodes["kept"] = pruning.kept_N
    graph_scores = pruning.scores
    say("%d of %d nodes and %d of %d effects kept", pruning.kept_N.sum(), len(nodes), pruning.kept_E.sum(), len(effect))
    say("replacement score %.3f, completeness score %.3f", graph_scores.replacement, graph_scores.completeness)
    inputs = _inputs(model, token_P, config, asked)
    about = GraphMetadata(
        slug=slug or slug_of(text),
        prompt=text,
        tokens=tuple(token_text(int(token), model.adapter) for token in token_P),
        model=model.adapter.name,
        source_set=model.source_set,
        n_layers=local.n_layers,
        complete=len(selected_A) == int(targets.reach_A(local).sum()),
        target="feature" if asked.features else config.target,
        replacement_score=graph_scores.replacement,
        completeness_score=graph_scores.completeness,
        roles=dict(roles or {}),
        inputs=fingerprint(inputs),
        provenance=_provenance(model, inputs, config, len(local.features), watch),
    )
    return AttributionGraph.build(nodes, source, target, effect, about, pruning.kept_E, size_N)


def expected_cost(prompt: Prompt, model: ReplacementModel, config: TraceConfig | None = None) -> Estimate:
    """What `attribute` will take on this prompt, by the formula in `tracer.estimate`; nothing is computed.

    Raises:
        PromptError: The prompt or a target cannot be traced.
        SettingError: The memory does not suffice.
    """
    config = config or TraceConfig()
    token_P, asked, _ = _read(prompt, model, config, None)
    return _check_fits(token_P, asked, model, config)


def _read(
    prompt: Prompt, model: ReplacementModel, config: TraceConfig, directions: Mapping[str, Any] | None
) -> tuple[Tensor, Asked, str]:
    """(P,) the tokens that the model runs on, what is asked of it, and the prompt as text."""
    if not isinstance(model, ReplacementModel):
        raise SettingError(
            f"the model is of type {type(model).__name__}; expected what `tracer.load(model, transcoders)` returns. "
            "Give the prompt first, then that."
        )
    adapter = model.adapter
    token_P = encode_prompt(prompt, adapter, chat=config.chat, first_token=config.first_token)
    answer = encode_answer(config.answer, token_P, adapter) if config.answer else []
    asked = ask(config, adapter, model.transcoders, token_P, answer, directions)
    text = prompt_text(prompt, token_P, adapter, chat=config.chat)
    return torch.cat([token_P, token_P.new_tensor(answer[:-1])]), asked, text


def _check_fits(token_P: Tensor, asked: Asked, model: ReplacementModel, config: TraceConfig) -> Estimate:
    sizes = sizes_of(model.adapter, model.transcoders, len(token_P), config, len(token_P) - asked.position)
    return check_fits(sizes, free_bytes(model.adapter.device))


def _nodes(
    model: ReplacementModel,
    local: LocalReplacement,
    targets: OutputTargets,
    ledger: Ledger | None,
    selected_A: np.ndarray,
    labels: Labels,
) -> tuple[pd.DataFrame, np.ndarray]:
    """The nodes table without what pruning adds, and the row in it of each: of sources as traced, then of outputs."""
    tables = [_feature_nodes(local, targets, selected_A, labels), _error_nodes(local)]
    tables.append(_token_nodes(model, local.forward.token_P))
    tables.append(_bias_nodes(ledger))
    tables.append(_output_nodes(local, targets))
    nodes = pd.concat([table for table in tables if len(table)], ignore_index=True)
    kinds = list(NodeKind)
    order = np.argsort([kinds.index(kind) for kind in nodes["kind"]], kind="stable")
    nodes = nodes.iloc[order].reset_index(drop=True)
    columns = (nodes[name] for name in ("kind", "layer", "position", "index"))
    nodes["node_id"] = [node_id(*row, n_layers=local.n_layers) for row in zip(*columns, strict=True)]
    return nodes, np.argsort(order)


def _ledger_columns(
    local: LocalReplacement, targets: OutputTargets, found: FoundEdges, selected_A: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By node, what was left out counted in: the sum of the sizes of all effects into it, their sum, and what that
    leaves of its value, in parts of the sizes."""
    final_KD = local.frozen.final(local.forward.resid_final_PD)[targets.position_K]
    value_K = (targets.vector_KD * final_KD).sum(-1) + targets.own_K
    sum_N, size_N = found.sums()
    value_N = np.full(len(sum_N), np.nan)
    value_N[: len(local.features)] = local.features.activation_A.double().cpu().numpy()
    value_N[len(value_N) - len(value_K) :] = value_K.double().cpu().numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        remainder_N = np.where(size_N > 0, (value_N - sum_N) / size_N, np.nan)
    row_N = np.concatenate([selected_A, np.arange(len(local.features), len(sum_N))])[np.argsort(place)]
    return size_N[row_N], sum_N[row_N], remainder_N[row_N]


def _left_out(sum_N: np.ndarray, size_N: np.ndarray, target: np.ndarray, effect: np.ndarray) -> np.ndarray:
    """By node, what the effects into it that are no edges sum to; NaN where nothing comes in."""
    rest_N = sum_N - np.bincount(target, effect, len(sum_N))
    rest_N[np.abs(rest_N) < ROUNDING * size_N] = 0
    return np.where(size_N > 0, rest_N, np.nan)


def _check_finite(nodes: pd.DataFrame, size_N: np.ndarray, model: ReplacementModel) -> None:
    broken = np.flatnonzero(~np.isfinite(size_N))
    if len(broken):
        raise UnsupportedModelError(
            f"{model.adapter.name}: the effects on {nodes['node_id'].iloc[broken[0]]} hold NaN or infinity in "
            f"{model.adapter.dtype}; expected finite numbers. A token whose embedding is zero gives norms without end: "
            "leave it out, or load with dtype='float64'."
        )


def _feature_nodes(
    local: LocalReplacement, targets: OutputTargets, selected_A: np.ndarray, labels: Labels
) -> pd.DataFrame:
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
    chance = np.where(np.isin(selected_A, targets.feature_T.cpu().numpy()), 1.0, np.nan)
    columns |= {"activation": activation, "label": label, "label_note": note, "probability": chance}
    return pd.DataFrame({"kind": NodeKind.FEATURE, **columns})


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


def _output_nodes(local: LocalReplacement, targets: OutputTargets) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "kind": NodeKind.LOGIT,
            "layer": local.n_layers,
            "position": targets.position_K.tolist(),
            "index": targets.index_K.tolist(),
            "label": targets.label_K,
            "label_note": "",
            "probability": targets.probability_K.float().cpu().numpy(),
        }
    )


def _weights(nodes: pd.DataFrame, config: TraceConfig) -> np.ndarray:
    """(N,) chance that a walk starts at a node: by weight, scaled to sum to 1 unless told otherwise."""
    weight_N = weights_of(nodes)
    return weight_N / weight_N.sum() if config.normalise_weights and weight_N.any() else weight_N


def _inputs(model: ReplacementModel, token_P: Tensor, config: TraceConfig, asked: Asked) -> dict[str, Any]:
    """What decides the graph, whatever the machine, as JSON can write it."""
    settings = asdict(config) | {"dtype": str(model.adapter.dtype).removeprefix("torch.")}
    return {
        "format": TRACE_VERSION,
        "names": [model.adapter.name, model.source_set],
        "model": file_hashes(model_files(model.adapter.folder)),
        "dictionary": file_hashes(model.transcoders.files),
        "token_ids": token_P.tolist(),
        "targets": {
            "position": asked.position,
            "tokens": [[token.index, token.minus] for token in (*asked.tokens, *asked.answer)],
            "features": [list(feature) for feature in asked.features],
            "directions": {name: vector_D.double().tolist() for name, vector_D in asked.directions},
        },
        "settings": {name: settings[name] for name in settings if name not in (*COST_SETTINGS, *TARGET_SETTINGS)},
    }


def _provenance(
    model: ReplacementModel, inputs: dict[str, Any], config: TraceConfig, n_active: int, watch: Stopwatch
) -> dict[str, Any]:
    """How to make the graph again, and what it cost."""
    adapter, transcoders = model.adapter, model.transcoders
    settings = asdict(config) | {"device": str(adapter.device)} | inputs["settings"]
    return {
        "model": {"name": adapter.name, "revision": revision(adapter.folder), "files": inputs["model"]},
        "dictionary": {
            "name": transcoders.name,
            "revision": revision(transcoders.folder),
            "revisions": dict(transcoders.revisions),  # of every repository on the hub that files came from
            "files": inputs["dictionary"],
        },
        "token_ids": inputs["token_ids"],
        "targets": inputs["targets"],
        "config": {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()},
        "seed": None,  # nothing in a trace is random
        "n_active_features": n_active,
        "versions": versions(),
        "created": now_utc(),
        "wall_s": watch.elapsed_s,
        "peak_memory_mb": peak_memory_mb(),
    }
