// name:    end_passage
// purpose: Say that a graph has come or gone.
// params:  $name     string   of the passage
// returns: passages  integer  1, or 0 where there is none
// access:  write
MATCH (passage:Passage {name: $name})
DELETE passage
RETURN count(*) AS passages
