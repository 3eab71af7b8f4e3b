// name:    hold_passage
// purpose: Say, within each piece, how far a passage is and that its command lives.
// params:  $name    string   of the passage
//          $owner   string   of the command that has it
//          $step    string   arriving, counting, uncounting or leaving
//          $done    integer  features that are counted or uncounted
//          $for_ms  integer  after this time without a word its command is taken for dead
// returns: step     string   as given; no row where another command has taken over
// access:  write
MATCH (passage:Passage {name: $name})
SET passage.name = $name
WITH passage
WHERE passage.owner = $owner
SET passage.step = $step, passage.done = $done, passage.until = timestamp() + $for_ms
RETURN passage.step AS step
