// name:    strongest_targets
// purpose: Which nodes of one graph does one node write into most strongly?
// params:  $graph_id  string   graph to look in
//          $node_id   string   the node that writes
//          $limit     integer  default 10; how many targets to return
// returns: node_id    string   the target
//          kind       string   one of schema.NodeKind
//          label      string   its text, or what it is thought to mean
//          effect     float    signed direct effect; unit as in schema.EDGE_COLUMNS
//          share      float    part of all input of the target, 0 to 1
//          rank_in    integer  1 where the node is the largest input of the target
// access:  read
MATCH (source:Node {graph_id: $graph_id, node_id: $node_id})-[edge:AFFECTS]->(target:Node)
USING INDEX SEEK source:Node(graph_id, node_id)
RETURN target.node_id AS node_id, target.kind AS kind, target.label AS label,
       edge.effect AS effect, edge.share AS share, edge.rank_in AS rank_in
ORDER BY share DESC, node_id
LIMIT $limit
