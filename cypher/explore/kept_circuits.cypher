// name:    kept_circuits
// purpose: Which circuits were kept?
// params:  none
// returns: kept_id    string   what was found and how, as a hash
//          name       string   for people
//          pattern    string   what was looked for
//          found      integer  prompts that have it
//          n          integer  prompts that were looked at
//          mean       float    flow over all prompts, on average
//          spread     float    its standard deviation
//          gone       integer  graphs of it that are not in the store
//          made_at    string   time, ISO 8601
//          made_with  string   software and version
//          note       string   what somebody thought of it
// access:  read
MATCH (circuit:Circuit) WHERE circuit.kept_id > ""
CALL (circuit) {
  UNWIND circuit.graph_ids AS graph_id
  WITH DISTINCT graph_id
  WHERE NOT EXISTS { MATCH (:Graph {graph_id: graph_id, ready: true}) }
  RETURN count(*) AS gone
}
RETURN circuit.kept_id AS kept_id, circuit.name AS name, circuit.pattern AS pattern, circuit.n_found AS found,
       circuit.n AS n, circuit.mean AS mean, circuit.spread AS spread, gone AS gone, circuit.made_at AS made_at,
       circuit.made_with AS made_with, circuit.note AS note
ORDER BY made_at DESC, name, kept_id
