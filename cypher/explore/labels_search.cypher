// name:    labels_search
// purpose: Which features have these words in their label?
// params:  $text       string   words; `texas OR ohio`, `"say Austin"`, `capit*` and `austin~` as in Lucene
//          $limit      integer  default 50; how many features to return
// returns: source_set  string   the dictionary
//          layer       integer  of the feature
//          index       integer  entry of the dictionary
//          label       string   what the feature is thought to mean
//          graphs      integer  in how many graphs it occurs
//          score       float    how well the words fit; larger is better
// access:  read
CALL db.index.fulltext.queryNodes('feature_labels', $text) YIELD node AS feature, score
RETURN feature.source_set AS source_set, feature.layer AS layer, feature.index AS index, feature.label AS label,
       feature.graphs AS graphs, score
ORDER BY score DESC, graphs DESC, source_set, layer, index
LIMIT $limit
