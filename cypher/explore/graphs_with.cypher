// name:    graphs_with
// purpose: Which graphs have a node that this text may name?
//          A text names nodes as in `circuits_through`, but any piece of a feature's label will do.
// params:  $term     string   a text, `a|b` for either, `20_15589` for a feature, with wildcards `*` and `?` or without
// returns: graph_id  string   the graph
//          nodes     integer  how many such nodes it has
// access:  read
UNWIND split($term, '|') AS alternative
WITH trim(alternative) AS term,
     [piece IN split(replace(toLower(trim(alternative)), '?', '*'), '*') WHERE piece <> ''] AS pieces
CALL (term, pieces) {
  UNWIND CASE WHEN term = '' THEN [] ELSE [coalesce(pieces[0], '')] END AS piece
  MATCH (node:Node) USING TEXT INDEX node:Node(label_key) WHERE node.label_key CONTAINS piece
  RETURN node
  UNION
  UNWIND CASE WHEN term =~ '\\d+_\\d+' THEN [split(term, '_')] ELSE [] END AS at
  MATCH (feature:Feature {layer: toInteger(at[0]), index: toInteger(at[1])})<-[:INSTANCE_OF]-(node:Node)
  USING INDEX SEEK feature:Feature(layer, index)
  RETURN node
}
WITH DISTINCT node
RETURN node.graph_id AS graph_id, count(*) AS nodes
ORDER BY graph_id
