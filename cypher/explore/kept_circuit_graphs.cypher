// name:    kept_circuit_graphs
// purpose: In which graphs was one kept circuit looked for, how strong was it, and along which nodes?
// params:  $kept_id  string        the circuit, as `kept_circuits` lists it
// returns: graph_id  string        the graph
//          loaded    boolean       whether it is in the store
//          slug      string        its short name, or null where it is not there
//          prompt    string        the text that was traced, or null where it is not there
//          flow      float         through all waypoints
//          found     boolean       whether that counted
//          failed    string        the waypoint that failed, or empty
//          path      list<string>  node_ids of the strongest path that are stored, in order
// access:  read
MATCH (circuit:Circuit {kept_id: $kept_id}) USING INDEX SEEK circuit:Circuit(kept_id)
UNWIND range(0, size(circuit.graph_ids) - 1) AS at
OPTIONAL MATCH (graph:Graph {graph_id: circuit.graph_ids[at], ready: true})
OPTIONAL MATCH (circuit)-[tie:PASSES {row: at}]->(node:Node)
WITH circuit, at, graph, node ORDER BY tie.place
WITH circuit, at, graph, collect(node.node_id) AS path
RETURN circuit.graph_ids[at] AS graph_id, graph IS NOT NULL AS loaded, graph.slug AS slug, graph.prompt AS prompt,
       circuit.flows[at] AS flow, circuit.found_in[at] AS found, circuit.failed[at] AS failed, path AS path
ORDER BY flow DESC, graph_id
