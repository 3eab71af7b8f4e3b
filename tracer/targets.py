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


def output_targets(adapter: Adapter, logits_V: Tensor, config: TraceConfig) -> OutputTargets:
    """The tokens to explain at the position with these logits.

    Raises:
        PromptError: A text of `config.target_tokens` is not one token.
    """
    probability_V = logits_V.softmax(-1)
    token_K = _chosen(adapter, probability_V, config)
    unembed_VD = adapter.unembed_VD
    if config.target == "logit":
        vector_KD = unembed_VD[token_K] - unembed_VD.mean(0)
    else:
        rows = [_log_odds(unembed_VD, logits_V, int(token)) for token in token_K]
        vector_KD = torch.stack(rows)
    return OutputTargets(token_K, probability_V[token_K], vector_KD)


def _chosen(adapter: Adapter, probability_V: Tensor, config: TraceConfig) -> Tensor:
    if config.target_tokens:
        ids = dict.fromkeys(token_id(text, adapter) for text in config.target_tokens)
        return torch.tensor(list(ids), device=probability_V.device)
    if config.target == "log-odds":
        return probability_V.argmax()[None]
    top = probability_V.topk(min(config.max_n_logits, len(probability_V)))
    enough = int(torch.searchsorted(top.values.cumsum(0), config.desired_logit_prob)) + 1
    return top.indices[:enough]


def _log_odds(unembed_VD: Tensor, logits_V: Tensor, token: int) -> Tensor:
    """Gradient of log p/(1-p) of a token: its unembedding minus the mean of the others by their probability."""
    others_V = logits_V.clone()
    others_V[token] = -torch.inf
    return unembed_VD[token] - others_V.softmax(-1).to(unembed_VD) @ unembed_VD
