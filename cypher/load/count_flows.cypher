// name:    count_flows
// purpose: Add one graph to the aggregate of direct effects between features. Shares are summed as whole
//          billionths, so that the sum does not depend on the order in which graphs come and go.
// params:  $graph_id  string   the graph
// returns: flows      integer  how many pairs of features changed
// access:  write
MATCH (source:Node {graph_id: $graph_id})-[:INSTANCE_OF]->(from:Feature)
MATCH (source)-[edge:AFFECTS]->(target:Node)
MATCH (target)-[:INSTANCE_OF]->(to:Feature)
WITH from, to, count(edge) AS edges, sum(toInteger(round(edge.share * 1e9))) AS billionths
MERGE (from)-[flow:FLOWS_TO]->(to)
ON CREATE SET flow.graphs = 1, flow.edges = edges, flow.billionths = billionths
ON MATCH SET flow.graphs = flow.graphs + 1, flow.edges = flow.edges + edges,
             flow.billionths = flow.billionths + billionths
SET flow.mean_share = flow.billionths * 1e-9 / flow.edges
RETURN count(*) AS flows
