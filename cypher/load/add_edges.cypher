// name:    add_edges
// purpose: Make direct effects between nodes.
// params:  $rows   list<list>  [element of the source, of the target, effect, share, rank_in]
// returns: edges   integer     how many were made
// access:  write
UNWIND $rows AS row
MATCH (source) WHERE elementId(source) = row[0]
MATCH (target) WHERE elementId(target) = row[1]
CREATE (source)-[:AFFECTS {effect: row[2], share: row[3], rank_in: row[4]}]->(target)
RETURN count(*) AS edges
