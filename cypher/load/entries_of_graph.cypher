// name:    entries_of_graph
// purpose: Which entries of the dictionary occur in one graph?
// params:  $graph_id  string   the graph
// returns: layer      integer  of the entry
//          index      integer  of the entry
//          element    string   its handle within this transaction
// access:  read
MATCH (:Node {graph_id: $graph_id})-[:INSTANCE_OF]->(feature:Feature)
WITH DISTINCT feature
RETURN feature.layer AS layer, feature.index AS index, elementId(feature) AS element
ORDER BY layer, index
