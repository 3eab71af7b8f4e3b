// name:    set_labels
// purpose: Show other labels at nodes of a graph and at the entries of their dictionary; the graph is another version then.
// params:  $graph_id  string     the graph, which exists
//          $rows      list<map>  node_id, label, label_key, label_note; edited: whether the label is one of the entry
// returns: nodes      integer    how many
// access:  write
MATCH (graph:Graph {graph_id: $graph_id})
SET graph.ingested_at = datetime()
WITH graph
UNWIND $rows AS row
MATCH (node:Node {graph_id: $graph_id, node_id: row.node_id})
SET node.label = row.label, node.label_key = row.label_key, node.label_note = row.label_note
WITH node, row
MATCH (node)-[:INSTANCE_OF]->(feature:Feature)
SET feature.label = CASE WHEN row.edited OR feature.label = '' THEN row.label ELSE feature.label END
RETURN count(*) AS nodes
