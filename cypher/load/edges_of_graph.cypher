// name:    edges_of_graph
// purpose: Everything that is stored of the direct effects of one graph.
// params:  $graph_id  string   the graph
// returns: source     string   node_id of the source
//          target     string   node_id of the target
//          effect     float    signed direct effect
//          share      float    part of all input of the target
//          rank_in    integer  1 for the largest share into the target
// access:  read
MATCH (node:Node {graph_id: $graph_id})-[edge:AFFECTS]->(target)
RETURN node.node_id AS source, target.node_id AS target, edge.effect AS effect, edge.share AS share,
       edge.rank_in AS rank_in
