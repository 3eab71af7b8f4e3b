// name:    remove_graph
// purpose: Delete the node of one graph.
// params:  $graph_id  string   the graph
// returns: graphs     integer  1, or 0 where there is none
// access:  write
MATCH (graph:Graph {graph_id: $graph_id})
DETACH DELETE graph
RETURN count(*) AS graphs
