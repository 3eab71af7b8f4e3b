"""Prompts, labels and what was typed are data: how to put them into Streamlit's Markdown as they are."""

import re

SIGNS = re.compile(r"([\\`*_{}\[\]()#+!<>&$~|:.-])")  # links, images, emoji, formulas, colours and HTML all need one
CODE = re.compile(r"(`[^`]+`)")
LONGEST_TITLE = 120  # letters; the whole text stands in the list of labels


def escaped(text: str) -> str:
    r"""A text as Markdown that shows it as it is, in one line.

    >>> print(escaped("![a](http://b.c) $x$ :red[y]"))
    \!\[a\]\(http\://b\.c\) \$x\$ \:red\[y\]
    """
    return SIGNS.sub(r"\\\1", " ".join(text.split()))


def with_code(text: str) -> str:
    r"""A sentence that says what to type between backticks, as Markdown: that as code, all else as it is.

    >>> print(with_code("[a] is odd. Write `a -> b`"))
    \[a\] is odd\. Write `a -> b`
    """
    parts = CODE.split(" ".join(text.split()))
    return "".join(part if CODE.fullmatch(part) else SIGNS.sub(r"\\\1", part) for part in parts)


def title_of(text: str) -> str:
    """A text as a title: one line that is not too long.

    >>> title_of("say\\n Austin"), len(title_of("A" * 100_000))
    ('say Austin', 121)
    """
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TITLE else f"{line[:LONGEST_TITLE]}…"
