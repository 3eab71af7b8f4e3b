// name:    add_circuit
// purpose: Make the node of one kept circuit, or give it what its file says now; its ties come after.
// params:  $circuit  map      properties, named as in kept_circuits.circuit_row
// returns: kept_id   string   of the circuit
// access:  write
MERGE (circuit:Circuit {kept_id: $circuit.kept_id})
SET circuit = $circuit
WITH circuit
OPTIONAL MATCH (circuit)-[tie:FOUND_IN|PASSES]->()
DELETE tie
WITH DISTINCT circuit
RETURN circuit.kept_id AS kept_id
