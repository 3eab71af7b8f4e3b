// name:    influential_nodes
// purpose: Which nodes of one graph matter most to its outputs?
// params:  $graph_id   string   the graph
//          $limit      integer  default 20; how many nodes to return
// returns: node_id     string   the node
//          kind        string   one of schema.NodeKind
//          layer       integer  -1 for tokens, n_layers for outputs
//          position    integer  token position, from 0
//          label       string   its text, or what it is thought to mean
//          influence   float    0 to 1
//          activation  float    of a feature, else null
// access:  read
MATCH (node:Node {graph_id: $graph_id}) USING INDEX SEEK node:Node(graph_id)
RETURN node.node_id AS node_id, node.kind AS kind, node.layer AS layer, node.position AS position,
       node.label AS label, node.influence AS influence, node.activation AS activation
ORDER BY influence DESC, node_id
LIMIT $limit
