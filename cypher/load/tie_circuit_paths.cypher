// name:    tie_circuit_paths
// purpose: Tie kept circuits to the nodes on their strongest paths, as far as these are stored: one circuit in all its
//          graphs, or all circuits in one graph.
// params:  $kept_id   string   of the circuit; all if empty
//          $graph_id  string   of the graph; all if empty
// returns: ties       integer  how many there are now
// access:  write
MATCH (circuit:Circuit)
WHERE $kept_id = '' OR circuit.kept_id = $kept_id
UNWIND range(0, size(circuit.path_node_ids) - 1) AS at
WITH circuit, at
WHERE $graph_id = '' OR circuit.path_graph_ids[at] = $graph_id
MATCH (node:Node {graph_id: circuit.path_graph_ids[at], node_id: circuit.path_node_ids[at]})
MERGE (circuit)-[:PASSES {row: circuit.path_rows[at], place: circuit.path_places[at]}]->(node)
RETURN count(*) AS ties
