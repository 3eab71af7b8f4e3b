// name:    add_edges
// purpose: Make direct effects between nodes. All nodes are looked up once, and edges name them by their number: a
//          look-up for each end of each edge takes twice the time. Edges come as columns, which are packed faster.
// params:  $elements  list<string>  handles of the nodes
//          $columns   list<list>    numbers of the sources, numbers of the targets, effects, shares, ranks in the target
// returns: edges      integer       how many were made
// access:  write
UNWIND $elements AS element
MATCH (node) WHERE elementId(node) = element
WITH collect(node) AS nodes
UNWIND range(0, size($columns[0]) - 1) AS at
WITH nodes[$columns[0][at]] AS source, nodes[$columns[1][at]] AS target, at
CREATE (source)-[:AFFECTS {effect: $columns[2][at], share: $columns[3][at], rank_in: $columns[4][at]}]->(target)
RETURN count(*) AS edges
