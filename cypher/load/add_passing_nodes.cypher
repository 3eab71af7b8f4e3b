// name:    add_passing_nodes
// purpose: Make nodes of a graph that is not to be seen yet.
// params:  $name    string     of the passage
//          $rows    list<map>  properties of each node, named as in schema.NODE_COLUMNS
// returns: node_id  string     of each new node
//          element  string     its handle
// access:  write
UNWIND $rows AS row
CREATE (node:Passing)
SET node = row, node.passage = $name
RETURN node.node_id AS node_id, elementId(node) AS element
