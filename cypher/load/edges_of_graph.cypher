// name:    edges_of_graph
// purpose: Everything that is stored of the direct effects of one graph, by source: read in a third of the time that a
//          row for each would take.
// params:  $graph_id  string  the graph
// returns: source    string      node_id of the source
//          edges     list<list>  node_id of the target, signed effect, part of all its input, 1 for the largest of these
// access:  read
MATCH (node:Node {graph_id: $graph_id})-[edge:AFFECTS]->(target)
RETURN node.node_id AS source, collect([target.node_id, edge.effect, edge.share, edge.rank_in]) AS edges
