"""Prompts, labels and what was typed are data: how to put them into Streamlit's Markdown as they are."""

import re

SIGNS = re.compile(r"([\\`*_{}\[\]()#+!<>&$~|:.-])")  # links, images, emoji, formulas, colours and HTML all need one
LONGEST_TITLE = 120  # letters; the whole text stands in the list of labels


def escaped(text: str) -> str:
    r"""A text as Markdown that shows it as it is, in one line.

    >>> print(escaped("![a](http://b.c) $x$ :red[y]"))
    \!\[a\]\(http\://b\.c\) \$x\$ \:red\[y\]
    """
    return SIGNS.sub(r"\\\1", " ".join(text.split()))


def title_of(text: str) -> str:
    """A text as a title: one line that is not too long.

    >>> title_of("say\\n Austin"), len(title_of("A" * 100_000))
    ('say Austin', 121)
    """
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TITLE else f"{line[:LONGEST_TITLE]}…"
