// name:    uncount_flows
// purpose: Take one graph from the aggregate of direct effects between features.
// params:  $graph_id  string   the graph
// returns: flows      integer  how many pairs of features changed
// access:  write
MATCH (source:Node {graph_id: $graph_id})-[:INSTANCE_OF]->(from:Feature)
MATCH (source)-[edge:AFFECTS]->(target:Node)
MATCH (target)-[:INSTANCE_OF]->(to:Feature)
WITH from, to, count(edge) AS edges, sum(toInteger(round(edge.share * 1e9))) AS billionths
MATCH (from)-[flow:FLOWS_TO]->(to)
SET flow.graphs = flow.graphs - 1, flow.edges = flow.edges - edges, flow.billionths = flow.billionths - billionths
SET flow.mean_share = CASE flow.edges WHEN 0 THEN 0.0 ELSE flow.billionths * 1e-9 / flow.edges END
RETURN count(*) AS flows
