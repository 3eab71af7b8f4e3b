// name:    node_labels
// purpose: Nodes by words of their label.
// params:  none
// returns: none
// access:  schema
CREATE FULLTEXT INDEX node_labels IF NOT EXISTS FOR (node:Node) ON EACH [node.label]
