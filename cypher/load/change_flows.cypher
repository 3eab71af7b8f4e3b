// name:    change_flows
// purpose: Add one graph to, or take it from, the links between features that are there already. Asked from each source
//          outwards: a look for each pair would walk through all links of a feature again and again. Shares are summed
//          as whole billionths, so that the sum does not depend on the order in which graphs come and go.
// params:  $rows   list<list>  [handle of the source, {handle of a target: [edges, sum of their shares in billionths]}]
//          $sign   integer     1 adds, -1 takes away
// returns: source  string      handle of the source of each link that changed
//          target  string      handle of its target
// access:  write
UNWIND $rows AS row
MATCH (source:Feature) WHERE elementId(source) = row[0]
MATCH (source)-[flow:FLOWS_TO]->(target)
WITH row[0] AS source, elementId(target) AS target, flow, row[1] AS sums
WITH source, target, flow, sums[target] AS sum
WHERE sum IS NOT NULL
SET flow.graphs = flow.graphs + $sign, flow.edges = flow.edges + $sign * sum[0],
    flow.billionths = flow.billionths + $sign * sum[1]
SET flow.mean_share = CASE flow.edges WHEN 0 THEN 0.0 ELSE flow.billionths * 1e-9 / flow.edges END
RETURN source AS source, target AS target
