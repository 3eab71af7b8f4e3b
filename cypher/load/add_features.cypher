// name:    add_features
// purpose: Tie active features to the entries of their dictionary; the first label of an entry is the one it shows.
// params:  $source_set  string      the dictionary
//          $rows        list<list>  [element of the node, layer, index, label]
// returns: features     integer     how many were tied
// access:  write
UNWIND $rows AS row
MATCH (node) WHERE elementId(node) = row[0]
MERGE (feature:Feature {source_set: $source_set, layer: row[1], index: row[2]})
ON CREATE SET feature.graphs = 0, feature.label = ''
SET feature.label = CASE WHEN feature.label = '' THEN row[3] ELSE feature.label END
CREATE (node)-[:INSTANCE_OF]->(feature)
RETURN count(*) AS features
