// name:    sums_of_features
// purpose: What does the aggregate say of each feature: its graphs, and the sums over the links that start at it?
//          The number of a target is made of its place, and is 0 where it is no feature of the same dictionary.
// params:  $prime      integer  below 2^31; `checksum` is modulo it
// returns: source_set  string   its dictionary
//          layer       integer  of the entry
//          index       integer  of the entry
//          graphs      integer  that it occurs in
//          pairs       integer  sum of the graphs of its links
//          edges       integer  sum of the direct effects of its links
//          billionths  integer  sum of their shares
//          checksum    integer  sum over its links of their three sums, weighed, times a number of the target, by $prime
//          wrong_means integer  how many links have another mean_share than their edges and billionths give
//          labelled    boolean  whether it shows the label of one of its nodes, or none where none has any
// access:  read
MATCH (feature:Feature)
OPTIONAL MATCH (feature)-[flow:FLOWS_TO]->(target)
WITH feature, flow, 1000003 * flow.graphs + 1009 * flow.edges + flow.billionths AS weight,
     CASE WHEN target:Feature AND target.source_set = feature.source_set
          THEN (1000003 * target.layer + target.index % $prime) % $prime + 1 ELSE 0 END AS number,
     flow IS NOT NULL AND NOT coalesce(
       abs(flow.mean_share - CASE flow.edges WHEN 0 THEN 0.0 ELSE flow.billionths * 1e-9 / flow.edges END) < 1e-9, false
     ) AS wrong
WITH feature, coalesce(sum(flow.graphs), 0) AS pairs, coalesce(sum(flow.edges), 0) AS edges,
     coalesce(sum(flow.billionths), 0) AS billionths,
     coalesce(sum((weight % $prime) * number % $prime), 0) % $prime AS checksum,
     sum(CASE WHEN wrong THEN 1 ELSE 0 END) AS wrong_means
RETURN feature.source_set AS source_set, feature.layer AS layer, feature.index AS index, feature.graphs AS graphs,
       pairs, edges, billionths, checksum, wrong_means,
       CASE WHEN feature.label = '' THEN NOT EXISTS { (feature)<-[:INSTANCE_OF]-(node:Node) WHERE node.label <> '' }
            ELSE EXISTS { (feature)<-[:INSTANCE_OF]-(node:Node) WHERE node.label = feature.label } END AS labelled
