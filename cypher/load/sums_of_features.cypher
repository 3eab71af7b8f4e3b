// name:    sums_of_features
// purpose: What does the aggregate say of each feature: its graphs, and the sums over the links that start at it?
// params:  none
// returns: source_set  string   its dictionary
//          layer       integer  of the entry
//          index       integer  of the entry
//          graphs      integer  that it occurs in
//          pairs       integer  sum of the graphs of its links
//          edges       integer  sum of the direct effects of its links
//          billionths  integer  sum of their shares
// access:  read
MATCH (feature:Feature)
OPTIONAL MATCH (feature)-[flow:FLOWS_TO]->(:Feature)
RETURN feature.source_set AS source_set, feature.layer AS layer, feature.index AS index, feature.graphs AS graphs,
       coalesce(sum(flow.graphs), 0) AS pairs, coalesce(sum(flow.edges), 0) AS edges,
       coalesce(sum(flow.billionths), 0) AS billionths
