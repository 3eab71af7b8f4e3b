// name:    remove_supernodes
// purpose: Delete the supernodes of one graph; its nodes stay.
// params:  $graph_id   string   the graph
// returns: supernodes  integer  how many were deleted
// access:  write
MATCH (supernode:Supernode {graph_id: $graph_id})
DETACH DELETE supernode
RETURN count(*) AS supernodes
