// name:    strongest_sources
// purpose: Which nodes write most strongly into one node of one graph?
// params:  $graph_id  string   graph to look in
//          $node_id   string   the node that receives
//          $limit     integer  default 10; how many sources to return
// returns: node_id    string   the source
//          kind       string   one of schema.NodeKind
//          label      string   its text, or what it is thought to mean
//          effect     float    signed direct effect; unit as in schema.EDGE_COLUMNS
//          share      float    part of all input of the receiving node, 0 to 1
//          rank_in    integer  1 for the largest input
// access:  read
MATCH (source:Node)-[edge:AFFECTS]->(target:Node {graph_id: $graph_id, node_id: $node_id})
USING INDEX SEEK target:Node(graph_id, node_id)
RETURN source.node_id AS node_id, source.kind AS kind, source.label AS label,
       edge.effect AS effect, edge.share AS share, edge.rank_in AS rank_in
ORDER BY rank_in, node_id
LIMIT $limit
