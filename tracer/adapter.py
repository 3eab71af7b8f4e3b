"""What attribution asks of a Hugging Face model: one observed forward pass, then its frozen linear map.

An adapter for a new architecture names, in a `Layout`, the modules of a block: attention with its value and output
projections, the MLP, the norms before and after each, and the final norm. Where values are fused with
queries and keys it overrides `values`. Then it is entered in `architectures.ADAPTERS`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tracer.errors import DictionaryError, UnsupportedModelError
from tracer.frozen import FrozenLayer, FrozenModel, FrozenNorm

# names of TransformerLens; what they mean in which architecture: `Adapter._read_norm`, `Adapter.check_read_hook`
READ_HOOKS = ("hook_resid_mid", "hook_resid_pre", "hook_mlp_in", "ln2.hook_normalized", "mlp.hook_in")
WRITE_HOOKS = ("hook_mlp_out", "mlp.hook_out")


@dataclass(frozen=True)
class Layout:
    """Where an architecture keeps the parts of the model and of a block, as module names; None: has no such part."""

    blocks: str = "model.layers"
    """The list of blocks."""
    final_norm: str = "model.norm"
    """The norm before the unembedding."""
    position: str | None = None
    """The learned position embedding, which is added to the tokens'."""
    attention: str = "self_attn"
    """Inside a block: the attention module; it returns its output and its pattern."""
    value: str = "self_attn.v_proj"
    """Inside a block: the value projection; where it is fused with others, `Adapter.values` picks the values."""
    output: str = "self_attn.o_proj"
    """Inside a block: the output projection."""
    attention_norm: str | None = "input_layernorm"
    """Inside a block: the norm that attention reads through."""
    attention_post_norm: str | None = None
    """Inside a block: the norm of attention's output."""
    mlp: str = "mlp"
    """Inside a block: the MLP, with its router where it has one."""
    mlp_norm: str | None = "post_attention_layernorm"
    """Inside a block: the norm that the MLP reads through."""
    mlp_post_norm: str | None = None
    """Inside a block: the norm of the MLP's output."""
    norm_offset: float = 0.0
    """Norms multiply by this plus their weight."""
    transposed: bool = False
    """Whether attention's weights are stored (inputs, outputs)."""
    sinks: bool = False
    """Whether heads may attend to nothing, so that rows of a pattern sum to less than 1."""


@dataclass(frozen=True)
class Forward:
    """What one forward pass of the real model showed."""

    token_P: Tensor
    """Token ids."""
    position_PD: Tensor
    """Position embeddings added to the tokens'; zero where there are none."""
    resid_pre_LPD: Tensor
    """Residual stream entering each block; entry 0 is the embeddings of tokens and positions."""
    pattern_LHPP: Tensor
    """Attention by query and key."""
    attention_LPD: Tensor
    """Output of the attention module, before a norm after it."""
    resid_mid_LPD: Tensor
    """Residual stream that the MLP reads, before a norm: between attention and MLP, in parallel blocks before both."""
    mlp_LPD: Tensor
    """Output of the MLP, before a norm after it."""
    resid_final_PD: Tensor
    """Residual stream entering the final norm."""
    logits_PV: Tensor
    """The model's own logits, from position `logits_from` on."""
    logits_from: int = 0
    """The first position whose logits are kept: with a large vocabulary those of all would be the largest tensor."""

    @property
    def token_PD(self) -> Tensor:
        """Token embeddings as they enter the first block, without position embeddings."""
        return self.resid_pre_LPD[0] - self.position_PD

    def logits_V(self, position: int) -> Tensor:
        """The model's own logits at this position."""
        assert self.logits_from <= position < len(self.token_P), f"logits of position {position} were not kept"
        return self.logits_PV[position - self.logits_from]


def is_parallel(text_config: Any) -> bool:
    """Whether the MLP of a block stands beside its attention and not after it, as configurations tell it."""
    return getattr(text_config, "use_parallel_residual", False)


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
        config = self.model.config.get_text_config()
        self.n_layers: int = config.num_hidden_layers
        self.d_model: int = config.hidden_size
        self.n_heads: int = config.num_attention_heads
        self.n_kv_heads: int = getattr(config, "num_key_value_heads", None) or self.n_heads
        self.d_head: int = getattr(config, "head_dim", None) or self.d_model // self.n_heads
        self.n_context: int = config.max_position_embeddings
        self.softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self.parallel = is_parallel(config)
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
        return self.model.get_output_embeddings().weight.detach()

    def value_GED(self, block: nn.Module) -> Tensor:
        """Value weights of a block, one matrix a key/value head."""
        return self.values(self._weight(block, self.layout.value))

    def output_HDE(self, block: nn.Module) -> Tensor:
        """Output weights of a block, one matrix a head."""
        weight = self._weight(block, self.layout.output)
        return weight.reshape(self.d_model, self.n_heads, self.d_head).transpose(0, 1)

    def biases(self, block: nn.Module) -> tuple[Tensor, Tensor]:
        """Biases of values, (G, E), and of the output projection, (D,); zeros where there are none."""
        value, output = (self._part(block, name).bias for name in (self.layout.value, self.layout.output))
        zeros_GE = self.unembed_VD.new_zeros(self.n_kv_heads, self.d_head)
        return (
            zeros_GE if value is None else self.values(value.detach()),
            self.unembed_VD.new_zeros(self.d_model) if output is None else output.detach(),
        )

    def values(self, fused: Tensor) -> Tensor:
        """(G, E, ...) the values' part of what the value projection puts out, (outputs, ...), by key/value head."""
        return fused.reshape(self.n_kv_heads, self.d_head, *fused.shape[1:])

    def _weight(self, block: nn.Module, name: str) -> Tensor:
        """(outputs, inputs) weight of a projection."""
        weight = self._part(block, name).weight.detach()
        return weight.T if self.layout.transposed else weight

    def logits(self, final_PD: Tensor) -> Tensor:
        """(P, V) logits of what the unembedding reads, with the soft cap where the model has one."""
        logits_PV = _wide(self.model.get_output_embeddings()(final_PD.to(self.dtype)))
        return logits_PV if self.softcap is None else self.softcap * torch.tanh(logits_PV / self.softcap)

    @torch.no_grad()
    def observe(self, token_P: Tensor, logits_from: int = 0) -> Forward:
        """Run the model once on these tokens and keep what the frozen map needs. No hook stays behind.

        Args:
            logits_from: The first position whose logits are computed.
        """
        assert 0 <= logits_from < len(token_P), f"logits from position {logits_from} of {len(token_P)}"
        names = ("position", "pre", "pattern", "attention", "mid", "mlp", "final")
        seen: dict[str, list[Tensor]] = {name: [] for name in names}
        token_P = token_P.to(self.device)
        with self._listening(seen):
            kept = len(token_P) - logits_from
            logits_PV = self.model(token_P[None], use_cache=False, logits_to_keep=kept).logits[0]
        stacked = {name: torch.stack(seen.pop(name)) for name in ("pre", "attention", "mid", "mlp")}
        return Forward(
            token_P=token_P,
            position_PD=seen["position"][0] if seen["position"] else torch.zeros_like(stacked["pre"][0]),
            resid_pre_LPD=stacked["pre"],
            pattern_LHPP=seen["pattern"][0],
            attention_LPD=stacked["attention"],
            resid_mid_LPD=stacked["mid"],
            mlp_LPD=stacked["mlp"],
            resid_final_PD=seen["final"][0],
            logits_PV=_wide(logits_PV),
            logits_from=logits_from,
        )

    def freeze(
        self,
        forward: Forward,
        read_hook: str,
        write_hook: str,
        skip_LDD: Sequence[Tensor | None] = (),
        *,
        reuse: bool = False,
    ) -> FrozenModel:
        """The linear map around this forward pass, for a dictionary that reads and writes at these places.

        Args:
            reuse: Norms are folded into the patterns of `forward` in place: on long prompts a copy would not fit.
        """
        skips = skip_LDD or [None] * self.n_layers
        layers = (
            self._freeze_layer(layer, forward, read_hook, write_hook, skips[layer], reuse)
            for layer in range(self.n_layers)
        )
        final = self._norm(self.model, self.layout.final_norm, forward.resid_final_PD).frozen()
        return FrozenModel(tuple(layers), final, forward.position_PD)

    @classmethod
    def check_read_hook(cls, hook: str, name: str, parallel: bool) -> None:
        """Raise DictionaryError where this place does not exist in the blocks, parallel or not, of this model."""
        if parallel and hook == "hook_resid_mid":
            reason = "its blocks are parallel, the MLP reads hook_resid_pre or, after its norm, mlp.hook_in"
        elif not parallel and hook == "hook_resid_pre":
            reason = "its MLPs read after attention, at hook_resid_mid or, after a norm, mlp.hook_in"
        elif cls.layout.mlp_norm is None and hook == "ln2.hook_normalized":
            reason = "its MLPs read the residual stream without a norm, at hook_resid_mid, which is mlp.hook_in"
        else:
            return
        raise DictionaryError(
            f"the dictionary reads at {hook}; {name} has no MLP that reads there: {reason}. "
            "Give a dictionary that was trained on this model."
        )

    def read_LPD(self, forward: Forward, read_hook: str) -> Tensor:
        """What a dictionary with this hook reads at each block."""
        norms = (self._read_norm(layer, forward, read_hook) for layer in range(self.n_layers))
        return torch.stack([norm(mid_PD) for norm, mid_PD in zip(norms, forward.resid_mid_LPD, strict=True)])

    def written_LPD(self, forward: Forward, write_hook: str) -> Tensor:
        """What a dictionary with this hook is to reconstruct at each block."""
        if write_hook == "mlp.hook_out":
            return forward.mlp_LPD
        norms = (self._mlp_post_norm(layer, forward) for layer in range(self.n_layers))
        return torch.stack([norm(mlp_PD) for norm, mlp_PD in zip(norms, forward.mlp_LPD, strict=True)])

    def _freeze_layer(
        self, layer: int, forward: Forward, read_hook: str, write_hook: str, skip_DD: Tensor | None, reuse: bool
    ) -> FrozenLayer:
        block, pattern_HPP = self.blocks[layer], forward.pattern_LHPP[layer]
        before = self._norm(block, self.layout.attention_norm, forward.resid_pre_LPD[layer])
        after = self._norm(block, self.layout.attention_post_norm, forward.attention_LPD[layer])
        value_GED, output_HDE = self.value_GED(block), self.output_HDE(block)
        bias_PD = self._attention_bias(block, pattern_HPP, before.bias_D)
        pattern_HPP = pattern_HPP if reuse else pattern_HPP.clone()
        return FrozenLayer(
            pattern_HPP=pattern_HPP.mul_(after.scale_P[:, None]).mul_(before.scale_P),
            value_GED=before.into(value_GED),
            output_HDE=output_HDE * after.weight_D[:, None],
            bias_PD=after.frozen()(bias_PD),
            read=self._read_norm(layer, forward, read_hook),
            write=self._mlp_post_norm(layer, forward) if write_hook == "mlp.hook_out" else FrozenNorm(),
            skip_DD=skip_DD,
            parallel=self.parallel,
        )

    def _attention_bias(self, block: nn.Module, pattern_HPP: Tensor, norm_bias_D: Tensor | None) -> Tensor:
        """(P, D) what attention puts out for an input of zero, given the bias of the norm before it."""
        value_GE, output_D = self.biases(block)
        if norm_bias_D is not None:
            value_GE = value_GE + self.value_GED(block) @ norm_bias_D
        value_HE = value_GE.repeat_interleave(self.n_heads // self.n_kv_heads, 0)
        head_HD = torch.einsum("hde,he->hd", self.output_HDE(block), value_HE)
        return torch.einsum("hp,hd->pd", pattern_HPP.sum(-1), head_HD) + output_D

    def _read_norm(self, layer: int, forward: Forward, read_hook: str) -> FrozenNorm:
        norm = self._norm(self.blocks[layer], self.layout.mlp_norm, forward.resid_mid_LPD[layer])
        match read_hook:
            case "hook_mlp_in" | "hook_resid_mid" | "hook_resid_pre":  # before the norm
                return FrozenNorm()
            case "ln2.hook_normalized":  # before the norm's weight and bias, as in TransformerLens from 3 on
                return FrozenNorm(norm.scale_P[:, None].expand(-1, self.d_model), norm.centred)
            case "mlp.hook_in":
                return norm.frozen()
        raise AssertionError(f"hook {read_hook} was not refused when the dictionary was loaded")

    def _mlp_post_norm(self, layer: int, forward: Forward) -> FrozenNorm:
        return self._norm(self.blocks[layer], self.layout.mlp_post_norm, forward.mlp_LPD[layer]).frozen()

    def _norm(self, parent: nn.Module, name: str | None, x_PD: Tensor) -> "_Norm":
        """An RMS norm or LayerNorm at this input; one that changes nothing where there is no norm."""
        if name is None:
            return _Norm(x_PD.new_ones(len(x_PD)), x_PD.new_ones(x_PD.shape[1]))
        norm, wide_PD = self._part(parent, name), _wide(x_PD)
        centred = isinstance(norm, nn.LayerNorm)
        if centred:
            wide_PD = wide_PD - wide_PD.mean(-1, keepdim=True)
        eps = getattr(norm, "variance_epsilon", None) or norm.eps
        scale_P = torch.rsqrt(wide_PD.square().mean(-1) + eps).to(x_PD.dtype)
        weight_D = self.layout.norm_offset + norm.weight.detach()
        return _Norm(scale_P, weight_D, centred, norm.bias.detach() if centred else None)

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
            pattern_HPP = output[1][0]
            if not seen["pattern"]:  # all layers at once: on long prompts a second copy would be the largest tensor
                seen["pattern"].append(pattern_HPP.new_empty(self.n_layers, *pattern_HPP.shape))
            seen["pattern"][0][len(seen["attention"]) - 1] = pattern_HPP

        with ExitStack() as hooks:  # what is registered is removed, even when the next part is not found
            if self.layout.position is not None:
                position = self._part(self.model, self.layout.position)
                hooks.enter_context(position.register_forward_hook(hear_output("position")))
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


@dataclass(frozen=True)
class _Norm:
    """A norm at its input, in parts: subtract the mean if centred, then times scale, times weight, plus bias."""

    scale_P: Tensor
    weight_D: Tensor
    centred: bool = False
    bias_D: Tensor | None = None

    def frozen(self) -> FrozenNorm:
        return FrozenNorm(self.scale_P[:, None] * self.weight_D, self.centred, self.bias_D)

    def into(self, read_GED: Tensor) -> Tensor:
        """A linear read after the norm as one before it, but for scale and bias."""
        read_GED = read_GED * self.weight_D
        return read_GED - read_GED.mean(-1, keepdim=True) if self.centred else read_GED


def _first(args: tuple, kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _hidden(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _wide(x: Tensor) -> Tensor:
    """At least single precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
