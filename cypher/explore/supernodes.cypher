// name:    supernodes
// purpose: Which supernodes are there, how were they made, and how well do they meet the criteria?
// params:  $graph_id  string        default ""; only those of this graph; all if empty, as every graph_id starts so
// returns: graph_id   string        the graph
//          slug       string        its short name
//          name       string        of the supernode
//          size       integer       members, pruned away or not
//          score      float         mean of promote and same_sign, 0 to 1; null where nothing bears on it
//          promote    float         of the effects between members, the part that is positive
//          same_sign  float         of the effects on others, the part left when signs cancel
//          method     string        how it was made
//          by         string        whose it is
//          members    list<string>  their node_ids
// access:  read
MATCH (supernode:Supernode)
WHERE supernode.graph_id STARTS WITH $graph_id
MATCH (graph:Graph {graph_id: supernode.graph_id, ready: true})
RETURN graph.graph_id AS graph_id, graph.slug AS slug, supernode.name AS name, size(supernode.members) AS size,
       supernode.score AS score, supernode.promote AS promote, supernode.same_sign AS same_sign,
       supernode.method AS method, supernode.by AS by, supernode.members AS members
ORDER BY slug, graph_id, name
