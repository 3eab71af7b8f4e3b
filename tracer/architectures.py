"""ADAPTERS: the adapter of each architecture, by the `model_type` of its config.json."""

from dataclasses import replace

from torch import Tensor

from tracer.adapter import Adapter, Layout


class LlamaAdapter(Adapter):
    """Llama 2 and 3: RMS norms before attention and MLP, grouped heads.

    Mistral and Qwen 2 differ in what attention sees and in biases, Qwen 3 in norms of queries and keys: all of it acts
    inside the pattern, which is fixed, or is read from the modules.
    """


class Gemma2Adapter(Adapter):
    """Gemma 2 and the text models of Gemma 3: norms before and after, weights stored minus one.

    Soft caps of attention, sliding windows and norms of queries and keys act inside the pattern.
    """

    layout = Layout(
        attention_post_norm="post_attention_layernorm",
        mlp_norm="pre_feedforward_layernorm",
        mlp_post_norm="post_feedforward_layernorm",
        norm_offset=1.0,
    )


class Gemma3Adapter(Gemma2Adapter):
    """Gemma 3 with its vision tower, of which the text model is traced."""

    layout = replace(Gemma2Adapter.layout, blocks="model.language_model.layers", final_norm="model.language_model.norm")


class Olmo2Adapter(Adapter):
    """OLMo 2: attention and MLP read the bare residual stream, norms come after them."""

    layout = Layout(
        attention_norm=None,
        attention_post_norm="post_attention_layernorm",
        mlp_norm=None,
        mlp_post_norm="post_feedforward_layernorm",
    )


class GptOssAdapter(Adapter):
    """GPT-OSS: as Llama, with attention sinks; its router and experts are the MLP."""

    layout = Layout(sinks=True)


class Gpt2Adapter(Adapter):
    """GPT-2: LayerNorm, learned positions, queries, keys and values in one matrix, weights stored input first."""

    layout = Layout(
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        position="transformer.wpe",
        attention="attn",
        value="attn.c_attn",
        output="attn.c_proj",
        attention_norm="ln_1",
        mlp_norm="ln_2",
        transposed=True,
    )

    def values(self, fused: Tensor) -> Tensor:
        return super().values(fused[2 * self.d_model :])


class GptNeoxAdapter(Adapter):
    """GPT-NeoX and Pythia: LayerNorm, parallel blocks or not, queries, keys and values of each head side by side."""

    layout = Layout(
        blocks="gpt_neox.layers",
        final_norm="gpt_neox.final_layer_norm",
        attention="attention",
        value="attention.query_key_value",
        output="attention.dense",
    )

    def values(self, fused: Tensor) -> Tensor:
        return fused.view(self.n_heads, 3, self.d_head, *fused.shape[1:])[:, 2]


ADAPTERS: dict[str, type[Adapter]] = {
    "llama": LlamaAdapter,
    "mistral": LlamaAdapter,
    "qwen2": LlamaAdapter,
    "qwen3": LlamaAdapter,
    "gemma2": Gemma2Adapter,
    "gemma3_text": Gemma2Adapter,
    "gemma3": Gemma3Adapter,
    "olmo2": Olmo2Adapter,
    "gpt_oss": GptOssAdapter,
    "gpt2": Gpt2Adapter,
    "gpt_neox": GptNeoxAdapter,
}

WHAT_AN_ADAPTER_PROVIDES = (
    "a tracer.adapter.Layout with the names of its blocks, final norm, attention, value and output "
    "projections, MLP and norms; the method `values` where they are fused with queries and keys; an entry in "
    "tracer.architectures.ADAPTERS"
)
