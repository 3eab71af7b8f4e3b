// name:    features_at
// purpose: Which features have this layer and index, in any dictionary?
// params:  $layer      integer  of the feature
//          $index      integer  entry of the dictionary
// returns: source_set  string   the dictionary
//          layer       integer  of the feature
//          index       integer  entry of the dictionary
//          label       string   what the feature is thought to mean, or empty
//          graphs      integer  in how many graphs it occurs
// access:  read
MATCH (feature:Feature {layer: $layer, index: $index}) USING INDEX SEEK feature:Feature(layer, index)
RETURN feature.source_set AS source_set, feature.layer AS layer, feature.index AS index, feature.label AS label,
       feature.graphs AS graphs
ORDER BY graphs DESC, source_set
