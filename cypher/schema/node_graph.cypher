// name:    node_graph
// purpose: All nodes of a graph at once: the composite key cannot be asked for its first part alone.
// params:  none
// returns: none
// access:  schema
CREATE RANGE INDEX node_graph IF NOT EXISTS FOR (node:Node) ON (node.graph_id)
