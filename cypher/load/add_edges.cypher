// name:    add_edges
// purpose: Make direct effects between nodes. All nodes are looked up once, and edges name them by their number: a
//          look-up for each end of each edge takes twice the time.
// params:  $elements  list<string>  handles of the nodes
//          $rows      list<list>    [number of the source, of the target, effect, share, rank_in]
// returns: edges      integer       how many were made
// access:  write
UNWIND $elements AS element
MATCH (node) WHERE elementId(node) = element
WITH collect(node) AS nodes
UNWIND $rows AS row
WITH nodes[row[0]] AS source, nodes[row[1]] AS target, row
CREATE (source)-[:AFFECTS {effect: row[2], share: row[3], rank_in: row[4]}]->(target)
RETURN count(*) AS edges
