// name:    lock_features
// purpose: Have features alone until the end of the transaction, so that nobody else counts their links.
// params:  $elements  list<string>  handles of the features
// returns: features   integer       how many
// access:  write
UNWIND $elements AS element
MATCH (feature:Feature) WHERE elementId(feature) = element
SET feature.graphs = feature.graphs
RETURN count(*) AS features
