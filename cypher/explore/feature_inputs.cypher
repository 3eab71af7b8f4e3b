// name:    feature_inputs
// purpose: What feeds one feature, over all graphs?
//          In one graph it counts what its occurrences get of their input on average; tokens go by their text, errors
//          by their layer.
// params:  $source_set  string   the dictionary
//          $layer       integer  of the feature
//          $index       integer  entry of the dictionary
//          $limit       integer  default 30; how many sources to return
// returns: kind         string   one of schema.NodeKind
//          layer        integer  of a feature or an error, else null
//          index        integer  entry of the dictionary, else null
//          label        string   its text, or what it is thought to mean, or empty
//          graphs       integer  in how many graphs it feeds the feature
//          edges        integer  how often, over all graphs and positions
//          mean_share   float    signed part of the input of the feature, -1 to 1, mean over all graphs that have it
//          least_share  float    the smallest in a graph where it feeds the feature
//          most_share   float    the largest there
//          mean_effect  float    signed direct effect, mean over the graphs where it feeds the feature
// access:  read
MATCH (feature:Feature {source_set: $source_set, layer: $layer, index: $index})<-[:INSTANCE_OF]-(node:Node)
USING INDEX SEEK feature:Feature(source_set, layer, index)
WITH node.graph_id AS graph_id, collect(node) AS nodes
WITH collect({graph_id: graph_id, nodes: nodes}) AS groups, count(*) AS n_graphs
UNWIND groups AS group
UNWIND group.nodes AS node
MATCH (source:Node)-[edge:AFFECTS]->(node)
WITH n_graphs, group.graph_id AS graph_id, size(group.nodes) AS times, edge, source.kind AS kind,
     CASE WHEN source.kind IN ['feature', 'error'] THEN source.layer END AS layer,
     CASE source.kind WHEN 'feature' THEN source.index END AS index,
     CASE WHEN source.kind IN ['feature', 'error'] THEN '' ELSE trim(source.label) END AS text
WITH n_graphs, graph_id, times, kind, layer, index, text, count(edge) AS edges,
     sum(CASE WHEN edge.effect < 0 THEN -edge.share ELSE edge.share END) / times AS share,
     sum(edge.effect) / times AS effect
WITH n_graphs, kind, layer, index, text, count(*) AS graphs, sum(edges) AS edges, sum(share) / n_graphs AS mean_share,
     min(share) AS least_share, max(share) AS most_share, avg(effect) AS mean_effect
ORDER BY abs(mean_share) DESC, kind, layer, index, text
LIMIT $limit
OPTIONAL MATCH (other:Feature {source_set: $source_set, layer: layer, index: index})
USING INDEX SEEK other:Feature(source_set, layer, index) WHERE kind = 'feature'
RETURN kind, layer, index, coalesce(other.label, text) AS label, graphs, edges, mean_share, least_share, most_share,
       mean_effect
ORDER BY abs(mean_share) DESC, kind, layer, index, label
