// name:    complete_graphs
// purpose: Give graphs that came by the import tool their properties, as add_graph does.
// params:  $rows   list<map>  properties of each graph, named as in graph.GraphMetadata
// returns: graphs  integer    how many there were
// access:  write
UNWIND $rows AS row
MATCH (graph:Graph {graph_id: row.graph_id})
SET graph = row, graph.ready = true, graph.ingested_at = datetime()
RETURN count(*) AS graphs
