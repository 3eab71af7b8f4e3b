// name:    reused_edges
// purpose: Which direct effects between features come back in many graphs?
// params:  $min_graphs    integer  default 2; in how many graphs a link has to occur
//          $limit         integer  default 50; how many links to return
// returns: source_set     string   the dictionary
//          source_layer   integer  of the feature that writes
//          source_index   integer  its entry of the dictionary
//          source_label   string   what it is thought to mean, or empty
//          target_layer   integer  of the feature that receives
//          target_index   integer  its entry of the dictionary
//          target_label   string   what it is thought to mean, or empty
//          graphs         integer  in how many graphs the link occurs
//          edges          integer  how often it occurs, over all graphs and positions
//          mean_share     float    mean share of these, 0 to 1
// access:  read
MATCH (source)-[flow:FLOWS_TO]->(target)
USING INDEX SEEK flow:FLOWS_TO(graphs) WHERE flow.graphs >= $min_graphs
RETURN source.source_set AS source_set, source.layer AS source_layer, source.index AS source_index,
       source.label AS source_label, target.layer AS target_layer, target.index AS target_index,
       target.label AS target_label, flow.graphs AS graphs, flow.edges AS edges, flow.mean_share AS mean_share
ORDER BY graphs DESC, mean_share DESC, source_set, source_layer, source_index, target_layer, target_index
LIMIT $limit
