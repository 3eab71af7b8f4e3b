// name:    supernode_graph
// purpose: All supernodes of a graph at once.
// params:  none
// returns: none
// access:  schema
CREATE RANGE INDEX supernode_graph IF NOT EXISTS FOR (supernode:Supernode) ON (supernode.graph_id)
