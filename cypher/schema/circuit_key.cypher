// name:    circuit_key
// purpose: One (:Circuit) for each kept circuit.
// params:  none
// returns: none
// access:  schema
CREATE CONSTRAINT circuit_key IF NOT EXISTS FOR (circuit:Circuit) REQUIRE circuit.kept_id IS UNIQUE
