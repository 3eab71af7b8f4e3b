// name:    add_supernodes
// purpose: Make the supernodes of one graph, tied to those of their members that are stored.
// params:  $graph_id   string     the graph
//          $rows       list<map>  properties of each, named as in rows.GraphRows.supernodes
// returns: supernodes  integer    how many were made
// access:  write
UNWIND $rows AS row
CREATE (supernode:Supernode {graph_id: $graph_id})
SET supernode += row
WITH supernode
CALL (supernode) {
  UNWIND supernode.members AS node_id
  MATCH (node:Node {graph_id: $graph_id, node_id: node_id})
  MERGE (node)-[:MEMBER_OF]->(supernode)
}
RETURN count(*) AS supernodes
