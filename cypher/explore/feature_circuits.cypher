// name:    feature_circuits
// purpose: Which kept circuits go through one feature, in how many of their prompts?
// params:  $source_set  string   the dictionary
//          $layer       integer  layer of the feature
//          $index       integer  its number there
// returns: kept_id      string   the circuit, as `kept_circuits` lists it
//          name         string   what somebody called it
//          pattern      string   what was looked for
//          prompts      integer  prompts on whose strongest path the feature stands
//          found        integer  prompts that have the circuit
//          note         string   what somebody thought of it
// access:  read
MATCH (feature:Feature {source_set: $source_set, layer: $layer, index: $index})<-[:INSTANCE_OF]-(:ActiveFeature)<-[tie:PASSES]-(circuit:Circuit)
USING INDEX SEEK feature:Feature(source_set, layer, index)
WITH circuit, count(DISTINCT tie.row) AS prompts
RETURN circuit.kept_id AS kept_id, circuit.name AS name, circuit.pattern AS pattern, prompts AS prompts,
       circuit.n_found AS found, circuit.note AS note
ORDER BY prompts DESC, name, kept_id
