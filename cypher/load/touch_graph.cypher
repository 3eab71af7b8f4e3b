// name:    touch_graph
// purpose: Say that something of a graph was written anew, so that nobody goes on with what he remembers of it.
// params:  $graph_id  string   the graph
// returns: graphs     integer  1, or 0 where there is none
// access:  write
MATCH (graph:Graph {graph_id: $graph_id})
SET graph.ingested_at = datetime()
RETURN count(*) AS graphs
