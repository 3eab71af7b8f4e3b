"""check_adapter: an adapter proves on its model that attribution can trust it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tracer.adapter import Adapter, Forward
from tracer.errors import UnsupportedModelError

N_CHECK_TOKENS = 8  # enough for attention, grouped heads and a causal mask to show
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}  # of the largest logit


@dataclass(frozen=True)
class Check:
    """One thing an adapter was checked for."""

    name: str
    """What must hold."""
    seen: str
    """What was seen, with numbers."""
    passed: bool
    """Whether it holds."""


def check_adapter(adapter: Adapter) -> list[Check]:
    """Every check and what it saw.

    Raises:
        UnsupportedModelError: One failed; the message says which, what was seen, and what it means.
    """
    done = []
    for check in (_finite, _shapes, _patterns, _replay, _reacts):
        done.append(check(adapter))
        if not done[-1].passed:
            raise UnsupportedModelError(
                f"{adapter.name}: {type(adapter).__name__} fails its check that {done[-1].name} ({done[-1].seen}). "
                "The weights are damaged, or this version of the architecture needs its own adapter."
            )
    return done


def check_tokens(adapter: Adapter, shift: int = 0) -> Tensor:
    """Token ids to check with, spread over the vocabulary; another shift gives another last-but-one token."""
    n_vocab = len(adapter.unembed_VD)
    token_P = torch.arange(min(N_CHECK_TOKENS, adapter.n_context)) * 7919 % n_vocab  # a prime: few repeats
    token_P[len(token_P) // 2] = (token_P[len(token_P) // 2] + shift) % n_vocab
    return token_P


def replay_difference(adapter: Adapter, forward: Forward) -> float:
    """Largest difference between the frozen map's logits and the model's, over the largest logit."""
    frozen = adapter.freeze(forward, "hook_mlp_in", "mlp.hook_out")
    final_PD = frozen.replay(forward.token_PD, forward.mlp_LPD)[1]
    difference = (adapter.logits(final_PD) - forward.logits_PV).abs().max()
    return float(difference / forward.logits_PV.abs().max().clamp(min=1e-6))


def _finite(adapter: Adapter) -> Check:
    broken = [name for name, weight in adapter.model.named_parameters() if not torch.isfinite(weight).all()]
    seen = f"NaN or infinity in {broken[0]}" if broken else "all finite"
    return Check("all weights are finite numbers", seen, not broken)


def _shapes(adapter: Adapter) -> Check:
    heads = (adapter.n_kv_heads, adapter.d_head, adapter.d_model), (adapter.n_heads, adapter.d_model, adapter.d_head)
    seen = f"{len(adapter.blocks)} blocks for {adapter.n_layers} layers"
    passed = len(adapter.blocks) == adapter.n_layers and adapter.n_heads % adapter.n_kv_heads == 0
    for read, expected in zip((adapter.value_GED, adapter.output_HDE), heads, strict=True):
        shape = _shape_of(lambda read=read: read(adapter.blocks[0]))
        seen += f", {read.__name__} {shape} for {expected}"
        passed &= shape == expected
    passed &= adapter.unembed_VD.shape[1] == adapter.d_model
    return Check("weights have the shapes the configuration gives", seen, passed)


def _shape_of(read: Callable[[], Tensor]) -> tuple[int, ...] | str:
    try:
        return tuple(read().shape)
    except RuntimeError as error:
        return f"unreadable ({error})"


def _patterns(adapter: Adapter) -> Check:
    off = float((adapter.observe(check_tokens(adapter)).pattern_LHPP.float().sum(-1) - 1).abs().max())
    return Check("attention rows sum to 1", f"off by {off:.1e}", off < 10 * TOLERANCE[adapter.dtype])


def _replay(adapter: Adapter) -> Check:
    off = max(replay_difference(adapter, adapter.observe(check_tokens(adapter, shift))) for shift in (0, 1))
    limit = TOLERANCE[adapter.dtype]
    return Check("the frozen linear map gives the model's own logits", f"off by {off:.1e} of {limit:.0e}", off < limit)


def _reacts(adapter: Adapter) -> Check:
    before_PV, after_PV = (adapter.observe(check_tokens(adapter, shift)).logits_PV for shift in (0, 1))
    change_P = (before_PV - after_PV).abs().amax(-1).tolist()
    at = len(change_P) // 2
    earlier, later = max(change_P[:at], default=0.0), max(change_P[at:])
    limit = TOLERANCE[adapter.dtype] * float(before_PV.abs().max())
    seen = f"changing token {at} moves earlier logits by {earlier:.1e}, later ones by {later:.1e}"
    return Check("a token changes the outputs from its position on and no earlier", seen, earlier <= limit < later)
