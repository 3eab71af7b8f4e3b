// name:    feature_place
// purpose: Features by layer and index, whatever their dictionary.
// params:  none
// returns: none
// access:  schema
CREATE RANGE INDEX feature_place IF NOT EXISTS FOR (feature:Feature) ON (feature.layer, feature.index)
