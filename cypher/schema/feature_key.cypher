// name:    feature_key
// purpose: One (:Feature) for each entry of a dictionary.
// params:  none
// returns: none
// access:  schema
CREATE CONSTRAINT feature_key IF NOT EXISTS
FOR (feature:Feature) REQUIRE (feature.source_set, feature.layer, feature.index) IS UNIQUE
