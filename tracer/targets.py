"""output_targets: the output tokens that a graph explains, each as a direction that the unembedding reads."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tracer.adapter import Adapter
from tracer.config import TraceConfig
from tracer.prompt import token_id


@dataclass(frozen=True)
class OutputTargets:
    """Output tokens at one position, most likely first where the tracer chose them."""

    token_K: Tensor
    """Ids in the vocabulary."""
    probability_K: Tensor
    """The model's own probability of each."""
    vector_KD: Tensor
    """Direction in the final norm's output whose value is explained."""
    position_K: Tensor
    """Where each is read."""
    own_K: Tensor
    """What a value holds beside the direction's: from the biases of the unembedding."""


def output_targets(adapter: Adapter, logits_PV: Tensor, config: TraceConfig) -> OutputTargets:
    """The tokens to explain at the last position.

    Raises:
        PromptError: A text of `config.target_tokens` is not one token.
    """
    logits_V = logits_PV[-1]
    probability_V = logits_V.softmax(-1)
    token_K = _chosen(adapter, probability_V, config)
    if config.target == "logit":
        weight_KV = _one_hot(token_K, len(logits_V)) - 1 / len(logits_V)
    else:
        weight_KV = torch.stack([_log_odds(logits_V, int(token)) for token in token_K])
    weight_KV = weight_KV.to(adapter.unembed_VD)
    position_K = torch.full_like(token_K, len(logits_PV) - 1)
    own_K = weight_KV @ _unembed_bias_V(adapter)
    return OutputTargets(token_K, probability_V[token_K], weight_KV @ adapter.unembed_VD, position_K, own_K)


def _chosen(adapter: Adapter, probability_V: Tensor, config: TraceConfig) -> Tensor:
    if config.target_tokens:
        ids = dict.fromkeys(token_id(text, adapter) for text in config.target_tokens)
        return torch.tensor(list(ids), device=probability_V.device)
    if config.target == "log-odds":
        return probability_V.argmax()[None]
    top = probability_V.topk(min(config.max_n_logits, len(probability_V)))
    enough = int(torch.searchsorted(top.values.cumsum(0), config.desired_logit_prob)) + 1
    return top.indices[:enough]


def _one_hot(token_K: Tensor, n_vocab: int) -> Tensor:
    return torch.nn.functional.one_hot(token_K, n_vocab)


def _log_odds(logits_V: Tensor, token: int) -> Tensor:
    """Gradient of log p/(1-p) of a token in the logits: 1 at the token, minus the others' shares of probability."""
    others_V = logits_V.clone()
    others_V[token] = -torch.inf
    weight_V = -others_V.softmax(-1)
    weight_V[token] = 1
    return weight_V


def _unembed_bias_V(adapter: Adapter) -> Tensor:
    bias_V = getattr(adapter.model.get_output_embeddings(), "bias", None)
    return adapter.unembed_VD.new_zeros(len(adapter.unembed_VD)) if bias_V is None else bias_V.detach()
