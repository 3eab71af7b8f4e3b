// name:    feature_labels
// purpose: Features by words of their label.
// params:  none
// returns: none
// access:  schema
CREATE FULLTEXT INDEX feature_labels IF NOT EXISTS FOR (feature:Feature) ON EACH [feature.label]
