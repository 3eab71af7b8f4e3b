"""encode_prompt: a prompt as token ids that the model can take, or an error that says why not."""

from collections.abc import Sequence
from operator import index
from typing import Any

import torch
from torch import Tensor

from tracer.adapter import Adapter
from tracer.errors import PromptError


def encode_prompt(prompt: str | Sequence[int], adapter: Adapter) -> Tensor:
    """(P,) token ids. Text gets the first token by the tokenizer's own rule; ids are taken as they are.

    Raises:
        PromptError: The prompt is empty, too long, has a word or an id that the vocabulary lacks.
    """
    ids = _encode_text(prompt, adapter) if isinstance(prompt, str) else _token_ids(prompt)
    if not ids:
        raise PromptError("the prompt is empty; expected at least one token. Give a text or token ids.")
    n_vocab = len(adapter.unembed_VD)
    for at, token in enumerate(ids):
        if not 0 <= token < n_vocab:
            raise PromptError(
                f"token id {token} at position {at} is out of range; {adapter.name} has ids 0 to {n_vocab - 1}. "
                "Use ids of this model's tokenizer."
            )
    _check_length(ids, adapter)
    return torch.tensor(ids, device=adapter.device)


def token_id(text: str, adapter: Adapter) -> int:
    """The id of the output token with exactly this text.

    Raises:
        PromptError: The text is not one token of the model.
    """
    tokenizer = _tokenizer(adapter, text)
    if (token := _single(tokenizer, text)) is not None:
        return token
    ids = tokenizer.encode(text, add_special_tokens=False)
    remedy = "Give one of the model's tokens."
    if _single(tokenizer, " " + text) is not None:
        remedy = f"Give {' ' + text!r}, with the space."
    if _unknown(tokenizer) in ids:
        seen = "not in the vocabulary"
    else:
        seen = f"{len(ids)} tokens ({', '.join(repr(token_text(i, adapter)) for i in ids) or 'none'})"
    raise PromptError(f"target token {text!r} is {seen} of {adapter.name}; expected one token. {remedy}")


def token_text(token: int, adapter: Adapter) -> str:
    """The text of a token; its number where the model has no tokenizer."""
    return f"#{token}" if adapter.tokenizer is None else adapter.tokenizer.decode([token])


def prompt_text(prompt: str | Sequence[int], token_P: Tensor, adapter: Adapter) -> str:
    """The prompt as a text: as given, or what its ids stand for."""
    if isinstance(prompt, str):
        return prompt
    return adapter.tokenizer.decode(token_P) if adapter.tokenizer else " ".join(f"#{i}" for i in token_P.tolist())


def _check_length(ids: Sequence[int], adapter: Adapter) -> None:
    if len(ids) > adapter.n_context:
        raise PromptError(
            f"the prompt has {len(ids)} tokens; {adapter.name} can read {adapter.n_context}. Shorten the prompt."
        )


def _encode_text(text: str, adapter: Adapter) -> list[int]:
    if not text.strip():
        raise PromptError(f"the prompt is empty ({text!r}); expected a text. Give at least one word.")
    tokenizer = _tokenizer(adapter, text)
    encoding = tokenizer(text, verbose=False)  # else it warns of long prompts, which we refuse ourselves
    ids = list(encoding["input_ids"])
    _check_length(ids, adapter)
    if _unknown(tokenizer) in ids:
        raise PromptError(
            f"{_unknown_word(text, ids, encoding, tokenizer)!r} is not in the vocabulary of {adapter.name}; expected "
            "words that the model knows. Choose another word, or see the model card."
        )
    if ids and ids[0] not in tokenizer.all_special_ids and tokenizer.bos_token_id is not None:
        ids.insert(0, tokenizer.bos_token_id)  # its id may be 0
    return ids


def _token_ids(prompt: Sequence[int]) -> list[int]:
    ids = []
    for at, token in enumerate(prompt):
        try:
            ids.append(index(token))
        except TypeError:
            raise PromptError(
                f"the prompt holds {token!r} at position {at}; expected a text, or a sequence of token ids. "
                "Trace several texts one by one."
            ) from None
    return ids


def _single(tokenizer: Any, text: str) -> int | None:
    """The token that this text is, if it is one."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    return ids[0] if len(ids) == 1 and ids[0] != _unknown(tokenizer) else None


def _unknown(tokenizer: Any) -> int | None:
    """Id that stands for what the vocabulary lacks; many tokenizers have none, or name the first token there."""
    unknown = tokenizer.unk_token_id
    return None if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id) else unknown


def _tokenizer(adapter: Adapter, text: str) -> Any:
    if adapter.tokenizer is None:
        raise PromptError(
            f"{adapter.name} has no tokenizer, so the text {text!r} cannot be read; expected token ids. "
            "Give ids, or put the tokenizer's files into the model's folder."
        )
    return adapter.tokenizer


def _unknown_word(text: str, ids: list[int], encoding: Any, tokenizer: Any) -> str:
    """The first piece of the text that became the unknown token."""
    at = ids.index(tokenizer.unk_token_id)
    if not tokenizer.is_fast:
        return text
    span = encoding.token_to_chars(at)
    piece = text if span is None else text[span.start : span.end]
    return piece.strip() or piece
