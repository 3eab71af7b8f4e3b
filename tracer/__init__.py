"""Trace one prompt through a transformer into an attribution graph.

Dimension key (tensor names end in these letters, one per axis):
    L layer   P token position   D residual stream   F transcoder feature
    A active feature   K logit target   N graph node, in the order of `schema.NodeKind`   V vocabulary
    H attention head   G key/value head   E width of one head   B row of a batch of targets
"""
