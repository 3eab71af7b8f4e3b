// name:    claim_passages
// purpose: Take over the passages whose command died.
// params:  $owner    string   of the command that takes over
//          $for_ms   integer  after this time without a word it is taken for dead, too
// returns: name      string   of the passage
//          graph_id  string   of its graph
//          step      string   where it stood
//          done      integer  features that were counted or uncounted
// access:  write
MATCH (passage:Passage)
SET passage.name = passage.name
WITH passage
WHERE passage.until < timestamp()
SET passage.owner = $owner, passage.until = timestamp() + $for_ms
RETURN passage.name AS name, passage.graph_id AS graph_id, passage.step AS step, passage.done AS done
