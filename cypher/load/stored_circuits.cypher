// name:    stored_circuits
// purpose: Everything that is stored of kept circuits, and how many ties to stored graphs and nodes are missing.
// params:  none
// returns: properties  map      of the circuit
//          untied      integer  graphs that have it, and nodes on its paths, that are stored and not tied to it
// access:  read
MATCH (circuit:Circuit)
CALL (circuit) {
  UNWIND range(0, size(circuit.graph_ids) - 1) AS at
  MATCH (graph:Graph {graph_id: circuit.graph_ids[at]})
  WHERE circuit.found_in[at] AND NOT EXISTS { (circuit)-[:FOUND_IN {row: at}]->(graph) }
  RETURN count(*) AS graphs
}
CALL (circuit) {
  UNWIND range(0, size(circuit.path_node_ids) - 1) AS at
  MATCH (node:Node {graph_id: circuit.path_graph_ids[at], node_id: circuit.path_node_ids[at]})
  WHERE NOT EXISTS { (circuit)-[:PASSES {row: circuit.path_rows[at], place: circuit.path_places[at]}]->(node) }
  RETURN count(*) AS nodes
}
RETURN properties(circuit) AS properties, graphs + nodes AS untied
