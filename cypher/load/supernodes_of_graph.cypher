// name:    supernodes_of_graph
// purpose: Everything that is stored of the supernodes of one graph.
// params:  $graph_id    string        the graph
// returns: properties   map           of the supernode
//          stored       list<string>  node_ids of the nodes that are tied to it, sorted
// access:  read
MATCH (supernode:Supernode {graph_id: $graph_id})
OPTIONAL MATCH (node:Node)-[:MEMBER_OF]->(supernode)
WITH supernode, node ORDER BY node.node_id
RETURN properties(supernode) AS properties, collect(node.node_id) AS stored
