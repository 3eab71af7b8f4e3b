// name:    show_nodes
// purpose: Make the nodes of one kind seen, in their graph.
// params:  $name      string   of the passage
//          $graph_id  string   the graph, which exists
//          $kind      string   one of schema.NodeKind
//          $label     string   second label, one of schema.NODE_LABELS
// returns: nodes      integer  how many
// access:  write
MATCH (graph:Graph {graph_id: $graph_id})
MATCH (node:Passing {passage: $name}) WHERE node.kind = $kind
SET node:Node:$($label)
REMOVE node:Passing, node.passage
CREATE (node)-[:IN]->(graph)
RETURN count(*) AS nodes
