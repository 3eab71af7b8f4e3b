// name:    remove_passing_nodes
// purpose: Delete the nodes of a graph that is not seen, with what is left between them.
// params:  $name   string   of the passage
// returns: nodes   integer  how many were deleted
// access:  write
MATCH (node:Passing {passage: $name})
DETACH DELETE node
RETURN count(*) AS nodes
