// name:    flows_of_graph
// purpose: Which links between features has one graph, as it is stored?
// params:  $graph_id   string        the graph
//          $elements   list<string>  handles of the features that links start at
// returns: source      string        handle of the feature it comes from
//          target      string        handle of the feature it goes to
//          edges       integer       direct effects, over all positions
//          billionths  integer       sum of their shares
// access:  read
MATCH (from:Node {graph_id: $graph_id})-[:INSTANCE_OF]->(source:Feature)
WHERE elementId(source) IN $elements
MATCH (from)-[edge:AFFECTS]->(to:Node)
MATCH (to)-[:INSTANCE_OF]->(target:Feature)
WITH source, target, count(edge) AS edges, sum(toInteger(round(edge.share * 1e9))) AS billionths
RETURN elementId(source) AS source, elementId(target) AS target, edges AS edges, billionths AS billionths
