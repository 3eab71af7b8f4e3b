// name:    count_features
// purpose: Add one graph to, or take it from, the number of graphs that each of its features occurs in. It comes before
//          anything that counts flows: whoever has changed a feature has it alone until the end of the transaction.
// params:  $graph_id  string   the graph
//          $sign      integer  1 adds, -1 takes away
// returns: features   integer  how many changed
// access:  write
MATCH (:Node {graph_id: $graph_id})-[:INSTANCE_OF]->(feature:Feature)
WITH DISTINCT feature
ORDER BY feature.layer, feature.index
SET feature.graphs = feature.graphs + $sign
RETURN count(*) AS features
