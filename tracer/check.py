"""check: what must hold of a model, and of a feature dictionary for it, looked at and reported."""

from collections.abc import Iterator
from contextlib import suppress

from torch import Tensor

from tracer.adapter import Adapter
from tracer.errors import CircuitError, PromptError
from tracer.model import open_model
from tracer.prompt import encode_prompt
from tracer.replacement import LocalReplacement, ReplacementModel
from tracer.selfcheck import Check, adapter_checks, agree, check_tokens, looked
from tracer.transcoders import TranscoderSet, load_transcoders

CHECK_TEXT = "Fact: the capital of the state containing Dallas is Austin"


def check(model: str, transcoders: str | None = None, *, device: str = "auto", dtype: str = "float32") -> list[Check]:
    """All checks of a model, and of a dictionary if one is named, those that fail too.

    Raises:
        UnsupportedModelError: The model cannot be read or has no adapter.
        DictionaryError: The dictionary cannot be read.
        SettingError: The device or dtype does not exist here.
    """
    dictionary = load_transcoders(transcoders) if transcoders else None  # first: it is read faster
    return run_checks(open_model(model, device=device, dtype=dtype), dictionary)


def run_checks(adapter: Adapter, transcoders: TranscoderSet | None = None) -> list[Check]:
    """All checks of a loaded model, and of a dictionary if one is given, those that fail too."""
    done = list(adapter_checks(adapter))
    if transcoders is not None:
        done += _dictionary_checks(adapter, transcoders)
    return done


def _dictionary_checks(adapter: Adapter, transcoders: TranscoderSet) -> Iterator[Check]:
    fits = "the dictionary has the model's layers and width, and its MLPs read where it reads"
    try:
        model = ReplacementModel(adapter, transcoders)
        token_P, what = _tokens(adapter)
        local = model.linearise(token_P)
    except CircuitError as error:
        yield Check(fits, str(error), False)
        return
    yield Check(fits, f"{adapter.n_layers} layers of width {adapter.d_model}, read at {transcoders.read_hook}", True)
    yield looked("features and errors give the model's own logits", lambda: _replay(adapter, local))
    yield looked("the dictionary explains some of what MLPs write", lambda: _explains(model, local, what))


def _tokens(adapter: Adapter) -> tuple[Tensor, str]:
    """Tokens to encode, and what they are: a text, or where no tokenizer reads it those of the model's own check."""
    with suppress(PromptError):
        token_P = encode_prompt(CHECK_TEXT, adapter)
        if len(token_P) > 2:  # what is left without position 0 has a variance
            return token_P, repr(CHECK_TEXT)
    token_P = check_tokens(adapter)
    return token_P, f"{len(token_P)} tokens drawn from the vocabulary"


def _replay(adapter: Adapter, local: LocalReplacement) -> tuple[str, bool]:
    final_PD = local.frozen.replay(local.token_PD, local.written_LPD())[1]
    return agree(adapter.logits(final_PD), local.forward.logits_PV, adapter)


def _explains(model: ReplacementModel, local: LocalReplacement, what: str) -> tuple[str, bool]:
    """Share of variance over positions; without position 0, whose outputs are large and always the same."""
    forward = model.adapter.observe(local.forward.token_P)  # the local model keeps no streams
    true_LPD = model.adapter.written_LPD(forward, model.transcoders.write_hook)[:, 1:]
    spread_LPD = true_LPD - true_LPD.mean(1, keepdim=True)
    missed_L, spread_L = (x.square().sum((1, 2)) for x in (local.error_LPD[:, 1:], spread_LPD))
    share = float((1 - missed_L / spread_L).mean())
    n_active = len(local.features) / local.error_LPD[..., 0].numel()
    seen = (
        f"{share:.1%} of the variance, mean over layers, with {n_active:.0f} features a layer and position, on {what}"
    )
    return seen, share > 0
