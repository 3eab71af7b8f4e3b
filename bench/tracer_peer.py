"""One attribution by circuit-tracer, run by the Python of its own environment; nothing of ours is imported here.

    python tracer_peer.py MODEL DICTIONARY SETTINGS      SETTINGS: JSON with token_ids, batch_size, max_feature_nodes

Prints one line of JSON: seconds of the attribution, of pruning with scores, and peak memory; CPU seconds on the CPU,
and with settings["device"] "cuda" wall seconds and memory of the GPU. The first trace there is not timed. The peer
loads known hub names only; a local model goes in through the classes beneath.
"""

# pyright: reportMissingImports=false
# It runs in the peer's environment, see tracer.py.

import json
import os
import re
import sys
import time
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import yaml  # noqa: E402
from circuit_tracer import attribute  # noqa: E402
from circuit_tracer.graph import compute_graph_scores, prune_graph  # noqa: E402
from circuit_tracer.replacement_model.replacement_model_transformerlens import (  # noqa: E402
    TransformerLensReplacementModel,
)
from circuit_tracer.transcoder.cross_layer_transcoder import load_clt  # noqa: E402
from circuit_tracer.utils.hf_utils import load_transcoders  # noqa: E402
from transformer_lens import HookedTransformerConfig  # noqa: E402
from transformer_lens.pretrained.weight_conversions import convert_gemma_weights  # noqa: E402
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: E402


def load_dictionary(folder: Path, device: torch.device):
    """The peer's own reading of a local folder."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    if "transcoders" in config:
        config["transcoders"] = [str(folder / name) for name in config["transcoders"]]
        return load_transcoders(config, device=device, dtype=torch.float32, lazy_encoder=False, lazy_decoder=False)
    return load_clt(
        str(folder),
        feature_input_hook=config["feature_input_hook"],
        feature_output_hook=config["feature_output_hook"],
        device=device,
        dtype=torch.float32,
        lazy_encoder=False,
        lazy_decoder=False,
    )


def load_model(folder: Path, dictionary, device: torch.device):
    """A Gemma 2 folder as TransformerLens's model, weights as they are, with the dictionary attached."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    ours = HookedTransformerConfig.from_dict(
        {
            "n_layers": config.num_hidden_layers,
            "d_model": config.hidden_size,
            "n_ctx": config.max_position_embeddings,
            "d_head": config.head_dim,
            "n_heads": config.num_attention_heads,
            "n_key_value_heads": config.num_key_value_heads,
            "d_mlp": config.intermediate_size,
            "act_fn": "gelu_pytorch_tanh",
            "d_vocab": config.vocab_size,
            "eps": config.rms_norm_eps,
            "use_attn_scale": True,
            "attn_scale": config.query_pre_attn_scalar**0.5,
            "normalization_type": "RMS",
            "final_rms": True,
            "positional_embedding_type": "rotary",
            "rotary_dim": config.head_dim,
            "rotary_base": config.rope_theta,
            "gated_mlp": True,
            "use_local_attn": True,
            "window_size": config.sliding_window,
            "attn_types": ["local" if kind == "sliding_attention" else "global" for kind in config.layer_types],
            "attn_scores_soft_cap": config.attn_logit_softcapping,
            "output_logits_soft_cap": config.final_logit_softcapping,
            "use_normalization_before_and_after": True,
            "original_architecture": "Gemma2ForCausalLM",
            "model_name": "gemma2-random",
            "device": str(device),
            "dtype": torch.float32,
            "init_weights": False,
        }
    )
    with torch.no_grad():
        weights = {
            name: value.detach().clone().contiguous() for name, value in convert_gemma_weights(model, ours).items()
        }
    peer = TransformerLensReplacementModel(ours, tokenizer=PreTrainedTokenizerFast.from_pretrained(folder))
    peer.load_and_process_state_dict(
        weights,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
        refactor_factored_attn_matrices=False,
    )
    peer._configure_replacement_model(dictionary)
    return peer.to(device)


def _now_s(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_mb(device: torch.device) -> float:
    """The most memory held so far: of this process alone, unlike ru_maxrss, which begins with that of its parent."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    (peak_kib,) = re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    return int(peak_kib) * 1024 / 1e6


def main() -> None:
    torch.set_num_threads(1)
    model_folder, dictionary_folder, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    device = torch.device(settings["device"])
    model = load_model(model_folder, load_dictionary(dictionary_folder, device), device)

    def trace(n_features: int | None):
        tokens = torch.tensor(settings["token_ids"])
        return attribute(tokens, model, batch_size=settings["batch_size"], max_feature_nodes=n_features)

    if device.type == "cuda":
        trace(1)
    began = _now_s(device)
    graph = trace(settings["max_feature_nodes"])
    traced = _now_s(device)
    pruned = prune_graph(graph)
    scores = compute_graph_scores(graph)
    done = _now_s(device)
    print(
        json.dumps(
            {
                "rows_s": traced - began,
                "graph_s": done - began,
                "n_features": len(graph.selected_features),
                "n_active": len(graph.active_features),
                "n_kept": int(pruned.node_mask.sum()),
                "scores": list(scores),
                "peak_mb": _peak_mb(device),
            }
        )
    )


if __name__ == "__main__":
    main()
