// name:    add_graph
// purpose: Make the node of one graph.
// params:  $graph   map     properties, named as in graph.GraphMetadata
// returns: graph_id string  of the new graph
// access:  write
CREATE (graph:Graph)
SET graph = $graph, graph.ready = true, graph.ingested_at = datetime()
RETURN graph.graph_id AS graph_id
