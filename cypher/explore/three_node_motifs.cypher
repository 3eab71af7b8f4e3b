// name:    three_node_motifs
// purpose: Which three features write into each other, the first into the second and both into the third, in many graphs?
//          Asked of the aggregate over all graphs, which counts links one by one: the three need not occur together.
// params:  $min_graphs    integer  default 3; in how many graphs each of the three links has to occur
//          $limit         integer  default 50; how many motifs to return
// returns: source_set     string   the dictionary
//          first_layer    integer  of the feature that writes into both others
//          first_index    integer  its entry of the dictionary
//          first_label    string   what it is thought to mean, or empty
//          second_layer   integer  of the feature in the middle
//          second_index   integer  its entry of the dictionary
//          second_label   string   what it is thought to mean, or empty
//          third_layer    integer  of the feature that receives from both others
//          third_index    integer  its entry of the dictionary
//          third_label    string   what it is thought to mean, or empty
//          graphs         integer  in how many graphs the rarest of the three links occurs
//          through_share  float    mean share of the first link times that of the second, 0 to 1
//          direct_share   float    mean share of the link from the first to the third, 0 to 1
// access:  read

// looked for first among the links that most graphs have, and only where these make too few among all
CALL () {
  MATCH ()-[link:FLOWS_TO]->() USING INDEX SEEK link:FLOWS_TO(graphs) WHERE link.graphs >= $min_graphs
  WITH link.graphs AS graphs ORDER BY graphs DESC SKIP 1000 LIMIT 1
  RETURN collect(graphs) AS many
}
UNWIND reduce(
  motifs = [], least IN many + [$min_graphs] | CASE WHEN size(motifs) >= $limit THEN motifs ELSE COLLECT {
    MATCH (first)-[into:FLOWS_TO]->(second)-[out:FLOWS_TO]->(third), (first)-[direct:FLOWS_TO]->(third)
    USING INDEX SEEK into:FLOWS_TO(graphs) USING INDEX SEEK out:FLOWS_TO(graphs) USING INDEX SEEK direct:FLOWS_TO(graphs)
    WHERE into.graphs >= least AND out.graphs >= least AND direct.graphs >= least
    WITH first, second, third, direct, into.mean_share * out.mean_share AS through_share,
         reduce(least = direct.graphs, n IN [into.graphs, out.graphs] | CASE WHEN n < least THEN n ELSE least END) AS graphs
    ORDER BY graphs DESC, through_share DESC, first.source_set, first.layer, first.index, second.layer, second.index,
             third.layer, third.index
    LIMIT $limit
    RETURN [first, second, third, graphs, through_share, direct.mean_share]
  } END) AS motif
WITH motif[0] AS first, motif[1] AS second, motif[2] AS third, motif[3] AS graphs, motif[4] AS through_share,
     motif[5] AS direct_share
RETURN first.source_set AS source_set, first.layer AS first_layer, first.index AS first_index,
       first.label AS first_label, second.layer AS second_layer, second.index AS second_index,
       second.label AS second_label, third.layer AS third_layer, third.index AS third_index,
       third.label AS third_label, graphs, through_share, direct_share
ORDER BY graphs DESC, through_share DESC, source_set, first_layer, first_index, second_layer, second_index, third_layer,
         third_index
