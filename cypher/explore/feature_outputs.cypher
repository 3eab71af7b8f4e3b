// name:    feature_outputs
// purpose: What does one feature feed, over all graphs, outputs among it?
//          In one graph it counts what the targets of one name get of their input from the feature on average; outputs
//          go by their text.
// params:  $source_set  string   the dictionary
//          $layer       integer  of the feature
//          $index       integer  entry of the dictionary
//          $limit       integer  default 30; how many targets to return
//          $kinds       list<string>  default ["feature", "logit"]; kinds of targets, of schema.NodeKind
// returns: kind         string   one of schema.NodeKind
//          layer        integer  of a feature, else null
//          index        integer  entry of the dictionary, else null
//          label        string   its text, or what it is thought to mean, or empty
//          graphs       integer  in how many graphs the feature feeds it
//          edges        integer  how often, over all graphs and positions
//          mean_share   float    signed part of the input of the target, -1 to 1, mean over all graphs that have the feature
//          least_share  float    the smallest in a graph where the feature feeds it
//          most_share   float    the largest there
//          mean_effect  float    signed direct effect, mean over the graphs where the feature feeds it
// access:  read
MATCH (feature:Feature {source_set: $source_set, layer: $layer, index: $index})<-[:INSTANCE_OF]-(node:Node)
USING INDEX SEEK feature:Feature(source_set, layer, index)
WITH collect(node) AS nodes, count(DISTINCT node.graph_id) AS n_graphs
UNWIND nodes AS node
MATCH (node)-[edge:AFFECTS]->(target:Node) WHERE target.kind IN $kinds
WITH n_graphs, node.graph_id AS graph_id, edge, target, target.kind AS kind,
     CASE target.kind WHEN 'feature' THEN target.layer END AS layer,
     CASE target.kind WHEN 'feature' THEN target.index END AS index,
     CASE target.kind WHEN 'feature' THEN '' ELSE trim(target.label) END AS text
WITH n_graphs, graph_id, kind, layer, index, text, count(edge) AS edges, count(DISTINCT target) AS times,
     sum(CASE WHEN edge.effect < 0 THEN -edge.share ELSE edge.share END) AS share, sum(edge.effect) AS effect
WITH n_graphs, kind, layer, index, text, count(*) AS graphs, sum(edges) AS edges,
     sum(share / times) / n_graphs AS mean_share, min(share / times) AS least_share, max(share / times) AS most_share,
     avg(effect / times) AS mean_effect
ORDER BY abs(mean_share) DESC, kind, layer, index, text
LIMIT $limit
OPTIONAL MATCH (other:Feature {source_set: $source_set, layer: layer, index: index})
USING INDEX SEEK other:Feature(source_set, layer, index) WHERE kind = 'feature'
RETURN kind, layer, index, coalesce(other.label, text) AS label, graphs, edges, mean_share, least_share, most_share,
       mean_effect
ORDER BY abs(mean_share) DESC, kind, layer, index, label
