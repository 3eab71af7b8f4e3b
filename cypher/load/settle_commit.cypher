// name:    settle_commit
// purpose: Say that an announced commit is done, one way or the other.
// params:  $mark  string   name of this commit
// returns: marks  integer  1, or 0 where it was not announced
// access:  write
MATCH (mark:Meta {name: $mark})
DELETE mark
RETURN count(*) AS marks
