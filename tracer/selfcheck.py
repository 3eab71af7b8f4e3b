"""check_adapter: an adapter proves on its model that attribution can trust it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from tracer.adapter import Adapter, Forward
from tracer.errors import UnsupportedModelError

N_CHECK_TOKENS = 8  # enough for attention, grouped heads and a causal mask to show
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}  # of the largest logit

Look = Callable[[], tuple[str, bool]]
"""Gives what was seen, with numbers, and whether it is as it must be."""


@dataclass(frozen=True)
class Check:
    """One thing a model or a dictionary was checked for."""

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
    for check in adapter_checks(adapter):
        done.append(check)
        if not check.passed:
            raise UnsupportedModelError(
                f"{adapter.name}: {type(adapter).__name__} fails its check that {check.name} ({check.seen}). "
                "The weights are damaged, or this version of the architecture needs its own adapter."
            )
    return done


def adapter_checks(adapter: Adapter) -> Iterator[Check]:
    """The checks of an adapter one by one, those that fail too."""
    yield looked("all weights are finite numbers", lambda: _finite(adapter))
    yield looked("weights have the shapes the configuration gives", lambda: _shapes(adapter))
    yield looked("attention rows sum to 1, with what sinks take", lambda: _patterns(adapter))
    yield looked("the frozen linear map gives the model's own logits", lambda: _replay(adapter))
    yield looked("the frozen linear map gives what the model's MLPs read", lambda: _reads(adapter))
    yield looked("a token changes the outputs from its position on and no earlier", lambda: _reacts(adapter))


def looked(name: str, look: Look) -> Check:
    """The check of this name; it has failed, too, when looking failed."""
    try:
        return Check(name, *look())
    except Exception as error:  # a model of unknown shape can fail in any way; the report says in which
        return Check(name, " ".join(str(error).split()) or type(error).__name__, False)


def check_tokens(adapter: Adapter, shift: int = 0) -> Tensor:
    """Token ids to check with, spread over the vocabulary; another shift gives another token in the middle."""
    n_vocab = len(adapter.unembed_VD)
    # a prime: few repeats; not from 0, which is often padding, whose embedding of zero blows rounding up
    token_P = torch.arange(1, 1 + min(N_CHECK_TOKENS, adapter.n_context)) * 7919 % n_vocab
    token_P[len(token_P) // 2] = (token_P[len(token_P) // 2] + shift) % n_vocab
    return token_P


def agree(seen: Tensor, expected: Tensor, adapter: Adapter) -> tuple[str, bool]:
    """The largest difference, over the largest value expected, as what a check saw."""
    difference = float((seen - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
    limit = TOLERANCE[adapter.dtype]
    return f"off by {difference:.1e} of {limit:.0e}", difference < limit


def _finite(adapter: Adapter) -> tuple[str, bool]:
    broken = [name for name, weight in adapter.model.named_parameters() if not torch.isfinite(weight).all()]
    return f"NaN or infinity in {broken[0]}" if broken else "all finite", not broken


def _shapes(adapter: Adapter) -> tuple[str, bool]:
    heads = (adapter.n_kv_heads, adapter.d_head, adapter.d_model), (adapter.n_heads, adapter.d_model, adapter.d_head)
    seen = f"{len(adapter.blocks)} blocks for {adapter.n_layers} layers"
    passed = len(adapter.blocks) == adapter.n_layers and adapter.n_heads % adapter.n_kv_heads == 0
    for read, expected in zip((adapter.value_GED, adapter.output_HDE), heads, strict=True):
        shape = _shape_of(lambda read=read: read(adapter.blocks[0]))
        seen += f", {read.__name__} {shape} for {expected}"
        passed &= shape == expected
    return seen, passed and adapter.unembed_VD.shape[1] == adapter.d_model


def _shape_of(read: Callable[[], Tensor]) -> tuple[int, ...] | str:
    try:
        return tuple(read().shape)
    except RuntimeError as error:
        return f"unreadable ({error})"


def _patterns(adapter: Adapter) -> tuple[str, bool]:
    sum_LHP = adapter.observe(check_tokens(adapter)).pattern_LHPP.float().sum(-1)
    limit = 10 * TOLERANCE[adapter.dtype]
    if adapter.layout.sinks:
        low, high = float(sum_LHP.min()), float(sum_LHP.max())
        return f"from {low:.2f} to {high:.2f}, sinks take the rest", low > 0 and high < 1 + limit
    difference = float((sum_LHP - 1).abs().max())
    return f"off by {difference:.1e}", difference < limit


def _replay(adapter: Adapter) -> tuple[str, bool]:
    forward = adapter.observe(check_tokens(adapter))
    return agree(adapter.logits(_replayed(adapter, forward)[1]), forward.logits_PV, adapter)


def _reads(adapter: Adapter) -> tuple[str, bool]:
    """The replay of logits is given what MLPs write, so it does not show from where they read."""
    read: list[Tensor] = []
    with ExitStack() as hooks:
        for block in adapter.blocks:
            mlp = block.get_submodule(adapter.layout.mlp)
            hooks.enter_context(mlp.register_forward_pre_hook(lambda module, args: read.append(args[0][0])))
        forward = adapter.observe(check_tokens(adapter))
    return agree(_replayed(adapter, forward)[0], torch.stack(read), adapter)


def _replayed(adapter: Adapter, forward: Forward) -> tuple[Tensor, Tensor]:
    frozen = adapter.freeze(forward, "mlp.hook_in", "mlp.hook_out")
    return frozen.replay(forward.token_PD, forward.mlp_LPD)


def _reacts(adapter: Adapter) -> tuple[str, bool]:
    before_PV, after_PV = (adapter.observe(check_tokens(adapter, shift)).logits_PV for shift in (0, 1))
    change_P = (before_PV - after_PV).abs().amax(-1).tolist()
    at = len(change_P) // 2
    earlier, later = max(change_P[:at], default=0.0), max(change_P[at:])
    limit = TOLERANCE[adapter.dtype] * float(before_PV.abs().max())
    seen = f"changing token {at} moves earlier logits by {earlier:.1e}, later ones by {later:.1e}"
    return seen, earlier <= limit < later
