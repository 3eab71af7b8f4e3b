// name:    common_features
// purpose: Which features occur in the most graphs of the whole store?
// params:  $min_graphs  integer  default 2; in how many graphs a feature has to occur
//          $limit       integer  default 50; how many features to return
// returns: source_set   string   the dictionary
//          layer        integer  of the feature
//          index        integer  entry of the dictionary
//          label        string   what the feature is thought to mean, or empty
//          graphs       integer  in how many graphs it occurs
// access:  read
MATCH (feature:Feature) USING INDEX SEEK feature:Feature(graphs) WHERE feature.graphs >= $min_graphs
RETURN feature.source_set AS source_set, feature.layer AS layer, feature.index AS index, feature.label AS label,
       feature.graphs AS graphs
ORDER BY graphs DESC, source_set, layer, index
LIMIT $limit
