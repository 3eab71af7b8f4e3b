// name:    node_key
// purpose: One (:Node) for each node_id of a graph.
// params:  none
// returns: none
// access:  schema
CREATE CONSTRAINT node_key IF NOT EXISTS FOR (node:Node) REQUIRE (node.graph_id, node.node_id) IS UNIQUE
