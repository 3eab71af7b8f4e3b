// name:    shared_features
// purpose: Which features do these graphs share?
// params:  $graph_ids   list<string>  the graphs
//          $min_graphs  integer       default 2; in how many of them a feature has to occur
//          $limit       integer       default 50; how many features to return
// returns: source_set   string        the dictionary
//          layer        integer       of the feature
//          index        integer       entry of the dictionary
//          label        string        what the feature is thought to mean, or empty
//          graphs       integer       in how many of the graphs it occurs
//          graph_ids    list<string>  in which
//          influence    float         largest influence of an occurrence, 0 to 1
// access:  read
UNWIND $graph_ids AS graph_id
MATCH (node:Node {graph_id: graph_id})-[:INSTANCE_OF]->(feature:Feature) USING INDEX SEEK node:Node(graph_id)
WITH feature, collect(DISTINCT graph_id) AS graph_ids, max(node.influence) AS influence
WHERE size(graph_ids) >= $min_graphs
UNWIND graph_ids AS graph_id
WITH feature, influence, graph_id ORDER BY graph_id
WITH feature, influence, collect(graph_id) AS graph_ids
RETURN feature.source_set AS source_set, feature.layer AS layer, feature.index AS index, feature.label AS label,
       size(graph_ids) AS graphs, graph_ids, influence
ORDER BY graphs DESC, influence DESC, source_set, layer, index
LIMIT $limit
