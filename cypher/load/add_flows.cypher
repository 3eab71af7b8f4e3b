// name:    add_flows
// purpose: Make links between features that no graph had before.
// params:  $elements  list<string>  handles of the features
//          $columns   list<list>    numbers of the sources, numbers of the targets, edges, billionths of their shares
// returns: flows      integer       how many were made
// access:  write
UNWIND $elements AS element
MATCH (feature:Feature) WHERE elementId(feature) = element
WITH collect(feature) AS features
UNWIND range(0, size($columns[0]) - 1) AS at
WITH features[$columns[0][at]] AS source, features[$columns[1][at]] AS target,
     $columns[2][at] AS edges, $columns[3][at] AS billionths
CREATE (source)-[:FLOWS_TO {graphs: 1, edges: edges, billionths: billionths, mean_share: billionths * 1e-9 / edges}]
       ->(target)
RETURN count(*) AS flows
