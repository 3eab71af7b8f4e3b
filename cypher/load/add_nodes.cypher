// name:    add_nodes
// purpose: Make the nodes of one kind and put them in their graph.
// params:  $graph_id  string     the graph, which exists
//          $label     string     second label, one of schema.NODE_LABELS
//          $rows      list<map>  properties of each node, named as in schema.NODE_COLUMNS
// returns: node_id    string     of each new node
//          element    string     its handle within this transaction
// access:  write
MATCH (graph:Graph {graph_id: $graph_id})
UNWIND $rows AS row
CREATE (node:Node:$($label))-[:IN]->(graph)
SET node = row
RETURN node.node_id AS node_id, elementId(node) AS element
