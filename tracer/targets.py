"""What a graph explains: outputs, as directions that the unembedding reads, or features of the dictionary.

`ask` reads the settings before any heavy work and refuses what is not there; `find` weighs what was asked for by the
outputs that the model computed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tracer.adapter import Adapter, Forward
from tracer.config import TraceConfig
from tracer.errors import PromptError
from tracer.prompt import find_position, token_id, token_text
from tracer.replacement import Features, LocalReplacement
from tracer.transcoders import TranscoderSet

FEATURE = re.compile(r"#?L?(\d+)/(\d+)")  # also as patterns of circuits write it: #L20/15589


@dataclass(frozen=True)
class Token:
    """An output token, or with `minus` the difference of two."""

    index: int
    """Id in the vocabulary."""
    minus: int | None = None
    """Id of the token whose logit is subtracted."""
    label: str = ""
    """What to call it."""


@dataclass(frozen=True)
class Asked:
    """What the settings ask for, checked against model, dictionary and prompt."""

    position: int
    """Where it is read, but for the tokens of an answer."""
    tokens: tuple[Token, ...] = ()
    """Chosen output tokens and differences; none: the most likely ones."""
    answer: tuple[Token, ...] = ()
    """Tokens that follow the prompt, the first at the position after `position`."""
    directions: tuple[tuple[str, Tensor], ...] = ()
    """Names, and directions of what the unembedding reads."""
    features: tuple[tuple[int, int], ...] = ()
    """Layer and index of features to explain instead of outputs."""


@dataclass(frozen=True)
class OutputTargets:
    """What the graph explains: outputs, or none and features instead; most likely first where the tracer chose them."""

    index_K: Tensor
    """Ids in the vocabulary; for a difference or direction numbers above it."""
    label_K: tuple[str, ...]
    """What to call each."""
    probability_K: Tensor
    """The model's own probability of each, NaN where it has none."""
    vector_KD: Tensor
    """Direction in the final norm's output whose value is explained."""
    position_K: Tensor
    """Where each is read."""
    own_K: Tensor
    """What a value holds beside the direction's: from the biases of the unembedding."""
    feature_T: Tensor
    """Rows of the active features to explain instead of outputs."""

    def __len__(self) -> int:
        return len(self.index_K)

    def reach_A(self, local: LocalReplacement) -> Tensor:
        """Mask of the active features that can act on a target, or are one: below it and not after its position."""
        features = local.features
        reach_A = torch.zeros_like(features.layer_A, dtype=torch.bool)
        if len(self):
            reach_A |= features.position_A <= self.position_K.max()
        for row in self.feature_T.tolist():
            below_A = features.layer_A < features.layer_A[row]
            reach_A |= below_A & (features.position_A <= features.position_A[row])
            reach_A[row] = True
        return reach_A


def ask(
    config: TraceConfig,
    adapter: Adapter,
    dictionary: TranscoderSet,
    token_P: Tensor,
    answer: Sequence[int] = (),
    directions: Mapping[str, Any] | None = None,
) -> Asked:
    """What these settings ask for.

    Args:
        token_P: The prompt, without an answer.
        answer: Token ids that follow it.
        directions: Names and (D,) vectors.

    Raises:
        PromptError: A token is not one token, a position or feature does not exist, a direction has another shape.
    """
    if directions and config.target_features:
        raise PromptError(
            f"there are directions ({', '.join(directions)}) beside target_features {config.target_features!r}; "
            "expected features or outputs. Trace two graphs."
        )
    return Asked(
        position=find_position(config.target_position, token_P, adapter),
        tokens=tuple(dict.fromkeys(_token(text, adapter) for text in config.target_tokens)),
        answer=tuple(Token(token, label=token_text(token, adapter)) for token in answer),
        directions=tuple((name, _direction(name, value, adapter)) for name, value in (directions or {}).items()),
        features=tuple(dict.fromkeys(_feature(text, dictionary) for text in config.target_features)),
    )


def find(asked: Asked, adapter: Adapter, local: LocalReplacement, config: TraceConfig) -> OutputTargets:
    """The outputs or features to explain on this prompt.

    Raises:
        PromptError: A feature is not active at its position.
    """
    wanted = [] if asked.features else _outputs(asked, adapter, local.forward, config)
    n_vocab, unembed_VD = len(adapter.unembed_VD), adapter.unembed_VD
    bias_V = getattr(adapter.model.get_output_embeddings(), "bias", None)
    vectors, indices, chances, own, virtual = [], [], [], [], n_vocab
    for token, position in wanted:
        logits_V = local.forward.logits_V(position)
        probability_V, weight_V = logits_V.softmax(-1), _weights(token, logits_V, config).to(unembed_VD)
        vectors.append(weight_V @ unembed_VD)
        own.append(0.0 if bias_V is None else float(weight_V @ bias_V.detach()))
        indices.append(token.index if token.minus is None else virtual)
        chances.append(float(probability_V[token.index]) if token.minus is None else math.nan)
        virtual += token.minus is not None
    directions = [] if asked.features else [vector_D for _, vector_D in asked.directions]
    n_more, like = len(directions), unembed_VD.new_zeros(0, unembed_VD.shape[1])
    at = [*(position for _, position in wanted), *[asked.position] * n_more]
    return OutputTargets(
        index_K=torch.tensor([*indices, *range(virtual, virtual + n_more)], dtype=torch.long, device=like.device),
        label_K=(*(token.label for token, _ in wanted), *(name for name, _ in asked.directions[:n_more])),
        probability_K=torch.tensor([*chances, *[math.nan] * n_more], device=like.device),
        vector_KD=torch.stack([*vectors, *directions]) if at else like,
        position_K=torch.tensor(at, dtype=torch.long, device=like.device),
        own_K=like.new_tensor([*own, *[0.0] * n_more]),
        feature_T=_active(asked, local.features),
    )


def _outputs(asked: Asked, adapter: Adapter, forward: Forward, config: TraceConfig) -> list[tuple[Token, int]]:
    """Tokens and differences with their positions."""
    if asked.answer:
        return [(token, asked.position + step) for step, token in enumerate(asked.answer)]
    tokens = asked.tokens
    if not tokens and not asked.directions:
        likely = _most_likely(forward.logits_V(asked.position).softmax(-1), config)
        tokens = [Token(token, label=token_text(token, adapter)) for token in likely.tolist()]
    return [(token, asked.position) for token in tokens]


def _most_likely(probability_V: Tensor, config: TraceConfig) -> Tensor:
    if config.target == "log-odds":
        return probability_V.argmax()[None]
    top = probability_V.topk(min(config.max_n_logits, len(probability_V)))
    enough = int(torch.searchsorted(top.values.cumsum(0), config.desired_logit_prob)) + 1
    return top.indices[:enough]


def _weights(token: Token, logits_V: Tensor, config: TraceConfig) -> Tensor:
    """(V,) how much each logit counts in the value that is explained."""
    if token.minus is not None:
        weight_V = torch.zeros_like(logits_V)
        weight_V[token.minus] = -1
    elif config.target == "logit":
        weight_V = torch.full_like(logits_V, -1 / len(logits_V))
        weight_V[token.index] += 1
        return weight_V
    else:  # the gradient of log p/(1-p) in the logits: minus the others' shares of their probability
        others_V = logits_V.clone()
        others_V[token.index] = -torch.inf
        weight_V = -others_V.softmax(-1)
    weight_V[token.index] = 1
    return weight_V


def _active(asked: Asked, features: Features) -> Tensor:
    """Rows of the features that were asked for."""
    rows = []
    for layer, index in asked.features:
        same_A = (features.layer_A == layer) & (features.index_A == index)
        row = (same_A & (features.position_A == asked.position)).nonzero()[:, 0]
        if not len(row):
            where = ", ".join(str(position) for position in features.position_A[same_A].tolist())
            raise PromptError(
                f"feature {layer}/{index} is not active at position {asked.position} of this prompt; expected one that "
                f"is. It is active {f'at {where}: give that target_position' if where else 'nowhere: choose another'}."
            )
        rows.append(row)
    return torch.cat(rows) if rows else features.layer_A.new_zeros(0)


def _token(text: str, adapter: Adapter) -> Token:
    """The token of this text, or the difference that it writes: ` Austin - Dallas`."""
    left, minus, right = text.rpartition(" -")
    if minus and left.strip() and right.strip():
        first, second = token_id(left, adapter), _subtracted(right, adapter)
        if first == second:
            raise PromptError(
                f"target {text!r} is a token minus itself, which is zero whatever the model reads; expected two "
                "tokens. Give another one."
            )
        return Token(first, second, f"{token_text(first, adapter)} - {token_text(second, adapter).strip()}")
    token = token_id(text, adapter)
    return Token(token, label=token_text(token, adapter))


def _subtracted(text: str, adapter: Adapter) -> int:
    """The token after the minus: with the blank before it, or where no token has that, without."""
    try:
        return token_id(text, adapter)
    except PromptError:
        return token_id(text.removeprefix(" "), adapter)


def _feature(text: str, dictionary: TranscoderSet) -> tuple[int, int]:
    found = FEATURE.fullmatch(text.strip())
    if found is None:
        raise PromptError(f"target feature {text!r} is not understood; expected layer/index. Write it as 20/15589.")
    layer, index = int(found[1]), int(found[2])
    if layer >= dictionary.n_layers:
        raise PromptError(
            f"target feature {text!r} does not exist: {dictionary.name} has layers 0 to {dictionary.n_layers - 1}. "
            "Choose one of these."
        )
    n_features = dictionary.layers[layer].n_features
    if index >= n_features:
        raise PromptError(
            f"target feature {text!r} does not exist: layer {layer} of {dictionary.name} has features 0 to "
            f"{n_features - 1}. Choose one of these."
        )
    return layer, index


def _direction(name: str, value: Any, adapter: Adapter) -> Tensor:
    vector_D = torch.as_tensor(value).detach().to(adapter.unembed_VD)
    if vector_D.shape != (adapter.d_model,):
        seen = f"has the shape {tuple(vector_D.shape)}"
    elif not torch.isfinite(vector_D).all():
        seen = "holds NaN or infinity"
    elif not vector_D.any():
        seen = "is zero"
    else:
        return vector_D
    raise PromptError(
        f"direction {name!r} {seen}; expected ({adapter.d_model},) finite numbers, not all zero, the width of what the "
        "unembedding reads. Give such a vector."
    )
