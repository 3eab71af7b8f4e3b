// name:    nodes_of_graph
// purpose: Everything that is stored of the nodes of one graph.
// params:  $graph_id    string   the graph
// returns: properties   map      of the node, named as in schema.NODE_COLUMNS
//          labels       list     its labels, sorted
//          inside       boolean  whether it is tied to its graph
//          layer        integer  of the entry of the dictionary that it is tied to, or null
//          index        integer  of the entry of the dictionary that it is tied to, or null
// access:  read
MATCH (node:Node {graph_id: $graph_id})
OPTIONAL MATCH (node)-[:INSTANCE_OF]->(feature:Feature)
UNWIND labels(node) AS label
WITH node, feature, label ORDER BY label
WITH node, feature, collect(label) AS labels
RETURN properties(node) AS properties, labels AS labels,
       EXISTS { (node)-[:IN]->(:Graph {graph_id: $graph_id}) } AS inside,
       feature.layer AS layer, feature.index AS index
