// name:    remove_passing_edges
// purpose: Delete some direct effects of a graph that is not seen.
// params:  $name   string   of the passage
//          $limit  integer  how many at most
// returns: edges   integer  how many were deleted
// access:  write
MATCH (:Passing {passage: $name})-[edge:AFFECTS]->()
WITH edge LIMIT $limit
DELETE edge
RETURN count(*) AS edges
