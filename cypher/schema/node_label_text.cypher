// name:    node_label_text
// purpose: Nodes by a piece of their label, for wildcards.
// params:  none
// returns: none
// access:  schema
CREATE TEXT INDEX node_label_text IF NOT EXISTS FOR (node:Node) ON (node.label_key)
