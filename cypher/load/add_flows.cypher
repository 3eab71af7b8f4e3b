// name:    add_flows
// purpose: Make links between features that no graph had before.
// params:  $elements  list<string>  handles of the features
//          $rows      list<list>    [number of the source, of the target, edges, sum of their shares in billionths]
// returns: flows      integer       how many were made
// access:  write
UNWIND $elements AS element
MATCH (feature:Feature) WHERE elementId(feature) = element
WITH collect(feature) AS features
UNWIND $rows AS row
WITH features[row[0]] AS source, features[row[1]] AS target, row
CREATE (source)-[:FLOWS_TO {graphs: 1, edges: row[2], billionths: row[3], mean_share: row[3] * 1e-9 / row[2]}]->(target)
RETURN count(*) AS flows
