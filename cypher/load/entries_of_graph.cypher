// name:    entries_of_graph
// purpose: Which entries of the dictionary occur in one graph?
// params:  $graph_id  string   the graph
// returns: layer      integer  of the entry
//          index      integer  of the entry
//          element    string   its handle within this transaction
//          graphs     integer  that it occurs in, with this one
// access:  read
MATCH (:Node {graph_id: $graph_id})-[:INSTANCE_OF]->(feature:Feature)
WITH DISTINCT feature
RETURN feature.layer AS layer, feature.index AS index, elementId(feature) AS element, feature.graphs AS graphs
ORDER BY layer, index
