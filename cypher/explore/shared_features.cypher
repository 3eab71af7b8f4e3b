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
MATCH (graph:Graph) USING INDEX SEEK graph:Graph(graph_id) WHERE graph.graph_id IN $graph_ids AND graph.ready
WITH collect(graph.graph_id) AS chosen
CALL () {
  MATCH (graph:Graph)
  RETURN count(graph) AS n_graphs
}
CALL () {
  MATCH (feature:Feature) USING INDEX SEEK feature:Feature(graphs) WHERE feature.graphs >= $min_graphs
  WITH feature.graphs AS graphs ORDER BY graphs DESC SKIP $limit LIMIT 1
  RETURN collect(graphs)[0] AS next
}
// of few graphs their nodes are looked through; of many those features that can be among the first $limit, since a
// feature is missing in at most all graphs that were not chosen
WITH chosen, 2 * size(chosen) < n_graphs AS few, coalesce(next, 0) - (n_graphs - size(chosen)) AS least
CALL (chosen, few, least) {
  UNWIND CASE WHEN few THEN chosen ELSE [] END AS graph_id
  MATCH (node:Node {graph_id: graph_id})-[:INSTANCE_OF]->(feature:Feature) USING INDEX SEEK node:Node(graph_id)
  RETURN feature, graph_id, node.influence AS influence
  UNION ALL
  UNWIND CASE WHEN few THEN [] ELSE [CASE WHEN least > $min_graphs THEN least ELSE $min_graphs END] END AS graphs
  MATCH (feature:Feature)<-[:INSTANCE_OF]-(node:Node) USING INDEX SEEK feature:Feature(graphs)
  WHERE feature.graphs >= graphs AND node.graph_id IN chosen
  RETURN feature, node.graph_id AS graph_id, node.influence AS influence
}
WITH feature, collect(DISTINCT graph_id) AS graph_ids, max(influence) AS influence
WHERE size(graph_ids) >= $min_graphs
WITH feature, graph_ids, influence
ORDER BY size(graph_ids) DESC, influence DESC, feature.source_set, feature.layer, feature.index
LIMIT $limit
WITH feature, influence, COLLECT { UNWIND graph_ids AS graph_id RETURN graph_id ORDER BY graph_id } AS graph_ids
RETURN feature.source_set AS source_set, feature.layer AS layer, feature.index AS index, feature.label AS label,
       size(graph_ids) AS graphs, graph_ids, influence
ORDER BY graphs DESC, influence DESC, source_set, layer, index
