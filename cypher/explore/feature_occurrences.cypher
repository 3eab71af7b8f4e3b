// name:    feature_occurrences
// purpose: Where is one feature active?
// params:  $source_set  string   the dictionary
//          $layer       integer  of the feature
//          $index       integer  entry of the dictionary
//          $limit       integer  default 100; how many occurrences to return
// returns: graph_id     string   the graph
//          slug         string   its short name
//          prompt       string   the text that was traced
//          node_id      string   the occurrence
//          position     integer  token position, from 0
//          token        string   the token at this position
//          activation   float    value of the feature, or null where no file told it
//          influence    float    0 to 1
//          label        string   what it is thought to mean in this graph, or empty
// access:  read
MATCH (feature:Feature {source_set: $source_set, layer: $layer, index: $index})<-[:INSTANCE_OF]-(node:Node)-[:IN]->(graph:Graph)
USING INDEX SEEK feature:Feature(source_set, layer, index)
RETURN graph.graph_id AS graph_id, graph.slug AS slug, graph.prompt AS prompt, node.node_id AS node_id,
       node.position AS position, graph.tokens[node.position] AS token, node.activation AS activation,
       node.influence AS influence, node.label AS label
ORDER BY influence DESC, graph_id, node_id
LIMIT $limit
