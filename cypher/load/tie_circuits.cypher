// name:    tie_circuits
// purpose: Tie kept circuits to the graphs that have them: one circuit to all its graphs, or all circuits to one graph.
// params:  $kept_id   string   of the circuit; all if empty
//          $graph_id  string   of the graph; all if empty
// returns: ties       integer  how many there are now
// access:  write
MATCH (circuit:Circuit)
WHERE $kept_id = '' OR circuit.kept_id = $kept_id
UNWIND range(0, size(circuit.graph_ids) - 1) AS at
WITH circuit, at
WHERE circuit.found_in[at] AND ($graph_id = '' OR circuit.graph_ids[at] = $graph_id)
MATCH (graph:Graph {graph_id: circuit.graph_ids[at]})
MERGE (circuit)-[tie:FOUND_IN {row: at}]->(graph)
SET tie.flow = circuit.flows[at]
RETURN count(*) AS ties
