// name:    flow_graphs
// purpose: Links between features by the number of graphs that they occur in.
// params:  none
// returns: none
// access:  schema
CREATE RANGE INDEX flow_graphs IF NOT EXISTS FOR ()-[flow:FLOWS_TO]-() ON (flow.graphs)
