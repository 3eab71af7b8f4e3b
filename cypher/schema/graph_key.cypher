// name:    graph_key
// purpose: One (:Graph) for each graph_id.
// params:  none
// returns: none
// access:  schema
CREATE CONSTRAINT graph_key IF NOT EXISTS FOR (graph:Graph) REQUIRE graph.graph_id IS UNIQUE
