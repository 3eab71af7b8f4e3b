"""Prompts, labels and what was typed are data: how to put them into Streamlit's Markdown as they are."""

import re

SIGNS = re.compile(r"([\\`*_{}\[\]()#+!<>&$~|:.-])")  # links, images, emoji, formulas, colours and HTML all need one


def escaped(text: str) -> str:
    r"""A text as Markdown that shows it as it is, in one line.

    >>> print(escaped("![a](http://b.c) $x$ :red[y]"))
    \!\[a\]\(http\://b\.c\) \$x\$ \:red\[y\]
    """
    return SIGNS.sub(r"\\\1", " ".join(text.split()))
