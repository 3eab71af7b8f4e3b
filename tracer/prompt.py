"""encode_prompt: a prompt as token ids that the model can take, or an error that says why not."""

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tracer.adapter import Adapter
from tracer.errors import PromptError

Prompt = str | Sequence[int] | Sequence[Mapping[str, str]]
"""A text, token ids, or the messages of a chat: {"role": "user", "content": "..."}."""


def encode_prompt(prompt: Prompt, adapter: Adapter, *, chat: bool = False, first_token: bool = False) -> Tensor:
    """(P,) token ids. Text gets the first token by the tokenizer's own rule, once; ids are taken as they are.

    Args:
        chat: Put the tokenizer's own chat template around a text, as what a user says. Messages always get it.
        first_token: Where that rule gives none, put another special token before a text, that of its end or of padding.

    Raises:
        PromptError: The prompt is empty, too long, has a word or an id that the vocabulary lacks; or the tokenizer has
            no chat template.
    """
    if isinstance(prompt, bytes) or not isinstance(prompt, Sequence | Tensor | np.ndarray):
        raise PromptError(
            f"the prompt is a {type(prompt).__name__}; expected a text, token ids, or the messages of a chat. Give one."
        )
    if is_chat(prompt, chat):
        ids = _encode_text(render_chat(prompt, adapter), adapter, special=False)
    else:
        ids = _encode_text(prompt, adapter, first=first_token) if isinstance(prompt, str) else _token_ids(prompt)
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


def encode_answer(text: str, token_P: Tensor, adapter: Adapter) -> list[int]:
    """The ids of a text that follows the prompt.

    Raises:
        PromptError: It is empty, too long together with the prompt, or has a word that the vocabulary lacks.
    """
    ids = _encode_text(text, adapter, special=False, what="answer")
    _check_length([*token_P.tolist(), *ids[:-1]], adapter)  # its last token is not read
    return ids


def is_chat(prompt: Prompt, chat: bool = False) -> bool:
    """Whether the chat template belongs around this prompt."""
    if isinstance(prompt, str):
        return chat
    if chat and not (len(prompt) and isinstance(prompt[0], Mapping)):
        raise PromptError("chat is on and the prompt is token ids; expected a text or messages. Turn one of them off.")
    return len(prompt) > 0 and isinstance(prompt[0], Mapping)


def render_chat(prompt: Prompt, adapter: Adapter) -> str:
    """The prompt as the tokenizer's own chat template writes it, up to where the model begins to answer.

    Raises:
        PromptError: The tokenizer has no template, or the template refuses these messages.
    """
    messages: list[Any] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    for at, message in enumerate(messages):
        if not (isinstance(message, Mapping) and all(isinstance(message.get(key), str) for key in ("role", "content"))):
            raise PromptError(
                f'message {at} is {str(message)[:80]}; expected {{"role": "user", "content": "..."}}, both of them '
                "texts. Correct it."
            )
    tokenizer = _tokenizer(adapter, messages[0]["content"])
    if not getattr(tokenizer, "chat_template", None):
        raise PromptError(
            f"{adapter.name} has no chat template; expected a model that was tuned to chat. Give the prompt as a text."
        )
    answers = messages[-1].get("role") != "assistant"  # else the last message is continued
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=answers, continue_final_message=not answers
        )
    except Exception as error:  # templates are programs, and raise what they like
        raise PromptError(
            f"the chat template of {adapter.name} refuses these messages ({' '.join(str(error).split())[:200]}); "
            'expected a list such as [{"role": "user", "content": "Hello"}]. Correct the roles.'
        ) from None


def find_position(wanted: int | str, token_P: Tensor, adapter: Adapter) -> int:
    """The position in the prompt that is meant: a number, from the end if negative, or the text of a token.

    Raises:
        PromptError: There is no such position, no such token, or more than one.
    """
    n_pos = len(token_P)
    if isinstance(wanted, int):
        if not -n_pos <= wanted < n_pos:
            raise PromptError(
                f"target position {wanted} does not exist; the prompt has {n_pos} tokens, 0 to {n_pos - 1}. "
                "Choose one of these."
            )
        return wanted % n_pos
    texts = [token_text(token, adapter) for token in token_P.tolist()]
    found = [at for at, text in enumerate(texts) if text == wanted]
    found = found or [at for at, text in enumerate(texts) if text.strip() == wanted.strip()]
    if len(found) != 1:
        seen = (
            f"stands at positions {', '.join(map(str, found))}"
            if found
            else f"is none of {', '.join(map(repr, texts))}"
        )
        raise PromptError(f"target position {wanted!r} {seen}; expected one token of the prompt. Give its number.")
    return found[0]


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


def prompt_text(prompt: Prompt, token_P: Tensor, adapter: Adapter, *, chat: bool = False) -> str:
    """The prompt as a text: as given, as the chat template writes it, or what its ids stand for."""
    if is_chat(prompt, chat):
        return render_chat(prompt, adapter)
    if isinstance(prompt, str):
        return prompt
    return adapter.tokenizer.decode(token_P) if adapter.tokenizer else " ".join(f"#{i}" for i in token_P.tolist())


def _check_length(ids: Sequence[int], adapter: Adapter) -> None:
    if len(ids) > adapter.n_context:
        raise PromptError(
            f"the prompt has {len(ids)} tokens; {adapter.name} can read {adapter.n_context}. Shorten the prompt."
        )


def _encode_text(
    text: str, adapter: Adapter, *, special: bool = True, first: bool = False, what: str = "prompt"
) -> list[int]:
    """Ids of a text; `special`: with the first token that the tokenizer's own rule puts before a prompt, `first`: or
    else another one."""
    if not text.strip():
        raise PromptError(f"the {what} is empty ({text!r}); expected a text. Give at least one word.")
    tokenizer = _tokenizer(adapter, text)
    # verbose: else it warns of long prompts, which we refuse ourselves
    encoding = tokenizer(text, verbose=False, add_special_tokens=special)
    ids = list(encoding["input_ids"])
    _check_length(ids, adapter)
    if _unknown(tokenizer) in ids:
        raise PromptError(
            f"{_unknown_word(text, ids, encoding, tokenizer)!r} is not in the vocabulary of {adapter.name}; expected "
            "words that the model knows. Choose another word, or see the model card."
        )
    if special and ids[:2] == [tokenizer.bos_token_id] * 2:
        return ids[1:]  # the text began with it, as that of a graph made from ids does
    if special and ids and ids[0] not in tokenizer.all_special_ids:
        others = (tokenizer.eos_token_id, tokenizer.pad_token_id, *tokenizer.all_special_ids) if first else ()
        token = next((each for each in (tokenizer.bos_token_id, *others) if each is not None), None)  # it may be 0
        ids = ids if token is None else [token, *ids]
    return ids


def _token_ids(prompt: Sequence[Any]) -> list[int]:
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
