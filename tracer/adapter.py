"""What attribution asks of a Hugging Face model: one observed forward pass, then its frozen linear map.

An adapter for a new architecture names, in a `Layout`, the modules of a block: attention with its value and output
projections, the MLP, the norms before and after each, the final norm, the unembedding. Where weights are fused or
stored transposed it overrides `value_GED`, `output_HDE` and `biases`. Then it is entered in `model.ADAPTERS`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tracer.errors import UnsupportedModelError
from tracer.frozen import FrozenLayer, FrozenModel, FrozenNorm

READ_HOOKS = ("hook_resid_mid", "ln2.hook_normalized", "mlp.hook_in")  # names of TransformerLens, see `_read_norm`
WRITE_HOOKS = ("hook_mlp_out", "mlp.hook_out")


@dataclass(frozen=True)
class Layout:
    """Where an architecture keeps the parts of the model and of a block, as module names; None: has no such part."""

    blocks: str = "model.layers"
    """The list of blocks."""
    final_norm: str = "model.norm"
    """The norm before the unembedding."""
    unembed: str = "lm_head"
    """The unembedding; its weight is (vocabulary, residual stream)."""
    attention: str = "self_attn"
    """Inside a block: the attention module; it returns its output and its pattern."""
    value: str = "self_attn.v_proj"
    """Inside a block: the value projection."""
    output: str = "self_attn.o_proj"
    """Inside a block: the output projection."""
    attention_norm: str | None = "input_layernorm"
    """Inside a block: the norm that attention reads through."""
    attention_post_norm: str | None = None
    """Inside a block: the norm of attention's output."""
    mlp: str = "mlp"
    """Inside a block: the MLP."""
    mlp_norm: str | None = "post_attention_layernorm"
    """Inside a block: the norm that the MLP reads through."""
    mlp_post_norm: str | None = None
    """Inside a block: the norm of the MLP's output."""
    norm_offset: float = 0.0
    """RMS norms multiply by this plus their weight."""


@dataclass(frozen=True)
class Forward:
    """What one forward pass of the real model showed."""

    token_P: Tensor
    """Token ids."""
    resid_pre_LPD: Tensor
    """Residual stream entering each block; entry 0 is the embedding."""
    pattern_LHPP: Tensor
    """Attention by query and key."""
    attention_LPD: Tensor
    """Output of the attention module, before a norm after it."""
    resid_mid_LPD: Tensor
    """Residual stream between attention and MLP."""
    mlp_LPD: Tensor
    """Output of the MLP, before a norm after it."""
    resid_final_PD: Tensor
    """Residual stream entering the final norm."""
    logits_PV: Tensor
    """The model's own logits."""


@dataclass
class Adapter:
    """A loaded model, with everything that attribution asks of an architecture."""

    layout: ClassVar[Layout] = Layout()

    model: Any
    """The Hugging Face model."""
    tokenizer: Any
    """The Hugging Face tokenizer; None where the folder has none."""
    name: str
    """Folder name or hub name."""
    folder: Path
    """Where its files lie; for a hub name the place in the cache."""

    def __post_init__(self) -> None:
        config = self.model.config
        self.n_layers: int = config.num_hidden_layers
        self.d_model: int = config.hidden_size
        self.n_heads: int = config.num_attention_heads
        self.n_kv_heads: int = getattr(config, "num_key_value_heads", None) or self.n_heads
        self.d_head: int = getattr(config, "head_dim", None) or self.d_model // self.n_heads
        self.n_context: int = config.max_position_embeddings
        self.softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self.blocks: Sequence[nn.Module] = self._part(self.model, self.layout.blocks)

    @property
    def device(self) -> torch.device:
        return self.unembed_VD.device

    @property
    def dtype(self) -> torch.dtype:
        return self.unembed_VD.dtype

    @property
    def unembed_VD(self) -> Tensor:
        """Unembedding weights."""
        return self._part(self.model, self.layout.unembed).weight.detach()

    def value_GED(self, block: nn.Module) -> Tensor:
        """Value weights of a block, one matrix a key/value head."""
        weight = self._part(block, self.layout.value).weight.detach()
        return weight.view(self.n_kv_heads, self.d_head, self.d_model)

    def output_HDE(self, block: nn.Module) -> Tensor:
        """Output weights of a block, one matrix a head."""
        weight = self._part(block, self.layout.output).weight.detach()
        return weight.view(self.d_model, self.n_heads, self.d_head).transpose(0, 1)

    def biases(self, block: nn.Module) -> tuple[Tensor, Tensor]:
        """Biases of values, (G, E), and of the output projection, (D,); zeros where there are none."""
        value = self._part(block, self.layout.value).bias
        output = self._part(block, self.layout.output).bias
        value = self.unembed_VD.new_zeros(self.n_kv_heads * self.d_head) if value is None else value.detach()
        output = self.unembed_VD.new_zeros(self.d_model) if output is None else output.detach()
        return value.view(self.n_kv_heads, self.d_head), output

    def logits(self, final_PD: Tensor) -> Tensor:
        """(P, V) logits of what the unembedding reads, with the soft cap where the model has one."""
        module = self._part(self.model, self.layout.unembed)
        logits_PV = _wide(module(final_PD.to(self.dtype)))
        return logits_PV if self.softcap is None else self.softcap * torch.tanh(logits_PV / self.softcap)

    @torch.no_grad()
    def observe(self, token_P: Tensor) -> Forward:
        """Run the model once on these tokens and keep what the frozen map needs. No hook stays behind."""
        seen: dict[str, list[Tensor]] = {name: [] for name in ("pre", "pattern", "attention", "mid", "mlp", "final")}
        with self._listening(seen):
            logits_PV = self.model(token_P[None].to(self.device), use_cache=False).logits[0]
        stacked = {name: torch.stack(seen[name]) for name in ("pre", "pattern", "attention", "mid", "mlp")}
        return Forward(
            token_P=token_P,
            resid_pre_LPD=stacked["pre"],
            pattern_LHPP=stacked["pattern"],
            attention_LPD=stacked["attention"],
            resid_mid_LPD=stacked["mid"],
            mlp_LPD=stacked["mlp"],
            resid_final_PD=seen["final"][0],
            logits_PV=_wide(logits_PV),
        )

    def freeze(
        self, forward: Forward, read_hook: str, write_hook: str, skip_LDD: Sequence[Tensor | None] = ()
    ) -> FrozenModel:
        """The linear map around this forward pass, for a dictionary that reads and writes at these places."""
        skips = skip_LDD or [None] * self.n_layers
        layers = (
            self._freeze_layer(layer, forward, read_hook, write_hook, skips[layer]) for layer in range(self.n_layers)
        )
        final = self._norm(self.model, self.layout.final_norm, forward.resid_final_PD)
        return FrozenModel(tuple(layers), FrozenNorm(final))

    def read_LPD(self, forward: Forward, read_hook: str) -> Tensor:
        """What a dictionary with this hook reads at each block."""
        norms = (self._read_norm(layer, forward, read_hook) for layer in range(self.n_layers))
        return torch.stack([norm(mid_PD) for norm, mid_PD in zip(norms, forward.resid_mid_LPD, strict=True)])

    def written_LPD(self, forward: Forward, write_hook: str) -> Tensor:
        """What a dictionary with this hook is to reconstruct at each block."""
        if write_hook == "mlp.hook_out":
            return forward.mlp_LPD
        factors = (self._mlp_post_factor(layer, forward) for layer in range(self.n_layers))
        return torch.stack([FrozenNorm(f)(mlp_PD) for f, mlp_PD in zip(factors, forward.mlp_LPD, strict=True)])

    def _freeze_layer(
        self, layer: int, forward: Forward, read_hook: str, write_hook: str, skip_DD: Tensor | None
    ) -> FrozenLayer:
        block, pattern_HPP = self.blocks[layer], forward.pattern_LHPP[layer]
        value_GED, output_HDE = self.value_GED(block), self.output_HDE(block)
        bias_PD = self._attention_bias(block, pattern_HPP, output_HDE)
        scale_P, weight_D = self._norm_parts(block, self.layout.attention_norm, forward.resid_pre_LPD[layer])
        post_P, post_D = self._norm_parts(block, self.layout.attention_post_norm, forward.attention_LPD[layer])
        after = self._mlp_post_factor(layer, forward) if write_hook == "mlp.hook_out" else None
        return FrozenLayer(
            pattern_HPP=(post_P[:, None] * pattern_HPP * scale_P).contiguous(),
            value_GED=value_GED * weight_D,
            output_HDE=output_HDE * post_D[:, None],
            bias_PD=bias_PD * post_P[:, None] * post_D,
            read=self._read_norm(layer, forward, read_hook),
            write=FrozenNorm(after),
            skip_DD=skip_DD,
        )

    def _attention_bias(self, block: nn.Module, pattern_HPP: Tensor, output_HDE: Tensor) -> Tensor:
        value_GE, output_D = self.biases(block)
        value_HE = value_GE.repeat_interleave(self.n_heads // self.n_kv_heads, 0)
        return (
            torch.einsum("hp,hd->pd", pattern_HPP.sum(-1), torch.einsum("hde,he->hd", output_HDE, value_HE)) + output_D
        )

    def _read_norm(self, layer: int, forward: Forward, read_hook: str) -> FrozenNorm:
        scale_P, weight_D = self._norm_parts(self.blocks[layer], self.layout.mlp_norm, forward.resid_mid_LPD[layer])
        match read_hook:
            case "hook_resid_mid":  # before the norm
                return FrozenNorm()
            case "ln2.hook_normalized":  # after its scale, before its weight
                return FrozenNorm(scale_P[:, None].expand(-1, self.d_model))
            case "mlp.hook_in":  # after its weight
                return FrozenNorm(scale_P[:, None] * weight_D)
        raise AssertionError(f"hook {read_hook} was not refused when the dictionary was loaded")

    def _mlp_post_factor(self, layer: int, forward: Forward) -> Tensor | None:
        return self._norm(self.blocks[layer], self.layout.mlp_post_norm, forward.mlp_LPD[layer])

    def _norm(self, parent: nn.Module, name: str | None, x_PD: Tensor) -> Tensor | None:
        """(P, D) factor of a norm at this input; None where there is no norm."""
        if name is None:
            return None
        scale_P, weight_D = self._norm_parts(parent, name, x_PD)
        return scale_P[:, None] * weight_D

    def _norm_parts(self, parent: nn.Module, name: str | None, x_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Scale by position and weight by dimension of an RMS norm at this input; ones where there is no norm."""
        if name is None:
            return x_PD.new_ones(len(x_PD)), x_PD.new_ones(x_PD.shape[1])
        norm = self._part(parent, name)
        eps = getattr(norm, "variance_epsilon", None) or norm.eps
        scale_P = torch.rsqrt(_wide(x_PD).square().mean(-1) + eps).to(x_PD.dtype)
        return scale_P, self.layout.norm_offset + norm.weight.detach()

    @contextmanager
    def _listening(self, seen: dict[str, list[Tensor]]) -> Iterator[None]:
        """Hooks that write what passes into these lists, removed at the end whatever happens."""

        def hear_input(name: str):
            return lambda module, args, kwargs: seen[name].append(_first(args, kwargs)[0])

        def hear_output(name: str):
            return lambda module, args, output: seen[name].append(_hidden(output)[0])

        def hear_attention(module: nn.Module, args: tuple, output: Any) -> None:
            seen["attention"].append(output[0][0])
            if output[1] is None:
                raise UnsupportedModelError(
                    f"{self.name}: attention returned no pattern; expected the (heads, queries, keys) pattern of eager "
                    "attention. Load the model with attn_implementation='eager'."
                )
            seen["pattern"].append(output[1][0])

        with ExitStack() as hooks:  # what is registered is removed, even when the next part is not found
            final = self._part(self.model, self.layout.final_norm)
            hooks.enter_context(final.register_forward_pre_hook(hear_input("final"), with_kwargs=True))
            for block in self.blocks:
                hooks.enter_context(block.register_forward_pre_hook(hear_input("pre"), with_kwargs=True))
                attention = self._part(block, self.layout.attention)
                hooks.enter_context(attention.register_forward_hook(hear_attention))
                between = self._part(block, self.layout.mlp_norm or self.layout.mlp)
                hooks.enter_context(between.register_forward_pre_hook(hear_input("mid"), with_kwargs=True))
                mlp = self._part(block, self.layout.mlp)
                hooks.enter_context(mlp.register_forward_hook(hear_output("mlp")))
            yield

    def _part(self, parent: nn.Module, name: str) -> Any:
        try:
            return parent.get_submodule(name)
        except AttributeError:
            raise UnsupportedModelError(
                f"{self.name}: {type(parent).__name__} has no module {name!r}; {type(self).__name__} expects it there. "
                "Use a transformers version that has it, or correct the adapter's layout."
            ) from None


def _first(args: tuple, kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _hidden(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _wide(x: Tensor) -> Tensor:
    """At least single precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
