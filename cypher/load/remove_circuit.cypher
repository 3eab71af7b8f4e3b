// name:    remove_circuit
// purpose: Delete one kept circuit; its graphs stay.
// params:  $kept_id   string   of the circuit
// returns: circuits   integer  1, or 0 where there is none
// access:  write
MATCH (circuit:Circuit {kept_id: $kept_id})
DETACH DELETE circuit
RETURN count(*) AS circuits
