// name:    begin_passage
// purpose: Say that a graph comes or goes in pieces, unless one of this id does already.
// params:  $name      string   of this passage
//          $graph_id  string   the graph
//          $step      string   where it begins: arriving or uncounting
//          $owner     string   of the command that has it
//          $for_ms    integer  after this time without a word its command is taken for dead
// returns: name       string   of this passage; no row where another counts its links
// access:  write
MATCH (meta:Meta {name: 'schema'})
SET meta.name = 'schema'
WITH meta
WHERE NOT EXISTS { MATCH (other:Passage {graph_id: $graph_id}) WHERE other.step IN ['counting', 'uncounting'] }
CREATE (passage:Passage {name: $name, graph_id: $graph_id, step: $step, done: 0, owner: $owner})
SET passage.until = timestamp() + $for_ms
RETURN passage.name AS name
