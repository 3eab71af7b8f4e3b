// name:    graph_edges
// purpose: Which direct effects has one graph?
// params:  $graph_id  string  the graph
// returns: source     string  node_id of the source
//          target     string  node_id of the target
//          effect     float   signed direct effect; unit as in schema.EDGE_COLUMNS
//          share      float   part of all input of the target, 0 to 1
// access:  read
MATCH (source:Node {graph_id: $graph_id})-[edge:AFFECTS]->(target:Node) USING INDEX SEEK source:Node(graph_id)
RETURN source.node_id AS source, target.node_id AS target, edge.effect AS effect, edge.share AS share
