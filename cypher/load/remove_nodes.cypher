// name:    remove_nodes
// purpose: Delete the nodes of one graph with their direct effects.
// params:  $graph_id  string   the graph
// returns: nodes      integer  how many were deleted
// access:  write
MATCH (node:Node {graph_id: $graph_id})
DETACH DELETE node
RETURN count(*) AS nodes
