// name:    remove_leftovers
// purpose: Delete whatever belongs to no graph, from a database whose graphs are all gone.
// params:  none
// returns: nodes    integer  how many were deleted
// access:  write
MATCH (node) WHERE NOT node:Meta
CALL (node) { DETACH DELETE node } IN TRANSACTIONS OF 2000 ROWS
RETURN count(*) AS nodes
