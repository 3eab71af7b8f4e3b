"""Where the README's numbers come from: ours and the other way of doing the same work, in one run, as a ratio."""
