// name:    remove_unused_features
// purpose: Delete features that occur in no graph any more.
// params:  none
// returns: features   integer  how many were deleted
// access:  write
MATCH (feature:Feature) WHERE feature.graphs = 0
DETACH DELETE feature
RETURN count(*) AS features
