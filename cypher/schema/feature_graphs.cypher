// name:    feature_graphs
// purpose: Features by the number of graphs that they occur in.
// params:  none
// returns: none
// access:  schema
CREATE RANGE INDEX feature_graphs IF NOT EXISTS FOR (feature:Feature) ON (feature.graphs)
