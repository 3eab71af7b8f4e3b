// name:    settle_labels
// purpose: Entries of a dictionary that show a label which none of their nodes has any more show one that a node has.
// params:  $elements  list<string>  handles of the features; those that are gone are passed over
// returns: features   integer       how many changed
// access:  write
UNWIND $elements AS element
MATCH (feature:Feature) WHERE elementId(feature) = element
  AND NOT EXISTS { (feature)<-[:INSTANCE_OF]-(node:Node) WHERE node.label = feature.label }
SET feature.label = coalesce(head(COLLECT {
  MATCH (feature)<-[:INSTANCE_OF]-(node:Node) WHERE node.label <> ''
  RETURN node.label ORDER BY node.graph_id, node.node_id LIMIT 1
}), '')
RETURN count(*) AS features
