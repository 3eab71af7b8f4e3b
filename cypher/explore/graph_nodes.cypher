// name:    graph_nodes
// purpose: Which nodes has one graph?
// params:  $graph_id    string   the graph
// returns: node_id      string   unique in its graph
//          kind         string   one of schema.NodeKind
//          layer        integer  -1 for tokens and biases of no layer, n_layers for outputs
//          position     integer  token position, from 0; -1 for biases
//          index        integer  entry of the dictionary, or id in the vocabulary
//          label        string   its text, or what it is thought to mean
//          label_note   string   where the label comes from
//          activation   float    of a feature, else null
//          influence    float    0 to 1
//          probability  float    of an output, else null
//          remainder    float    what the effects into it leave of its value, relative; else null
//          left_out     float    what the effects into it sum to that the trace's limits left out; else null
// access:  read
MATCH (node:Node {graph_id: $graph_id}) USING INDEX SEEK node:Node(graph_id)
RETURN node.node_id AS node_id, node.kind AS kind, node.layer AS layer, node.position AS position,
       node.index AS index, node.label AS label, node.label_note AS label_note, node.activation AS activation,
       node.influence AS influence, node.probability AS probability,
       node.remainder AS remainder, node.left_out AS left_out
ORDER BY layer, position, index, node_id
