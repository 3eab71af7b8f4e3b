// name:    hide_nodes
// purpose: Make the nodes of a graph unseen; their direct effects stay between them.
// params:  $name      string        of the passage
//          $graph_id  string        the graph
//          $labels    list<string>  all labels that nodes can have
// returns: nodes      integer       how many
// access:  write
MATCH (node:Node {graph_id: $graph_id})
OPTIONAL MATCH (node)-[tie:IN|INSTANCE_OF|MEMBER_OF|PASSES]-()
DELETE tie
WITH DISTINCT node
REMOVE node:$($labels)
SET node:Passing, node.passage = $name
RETURN count(*) AS nodes
