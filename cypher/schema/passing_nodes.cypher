// name:    passing_nodes
// purpose: Nodes of a graph that comes or goes in pieces, which is not seen yet or any more.
// params:  none
// returns: none
// access:  schema
CREATE RANGE INDEX passing_nodes IF NOT EXISTS FOR (node:Passing) ON (node.passage)
