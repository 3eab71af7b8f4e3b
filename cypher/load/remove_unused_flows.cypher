// name:    remove_unused_flows
// purpose: Delete links between features that occur in no graph any more.
// params:  none
// returns: flows  integer  how many were deleted
// access:  write
MATCH (:Feature)-[flow:FLOWS_TO]->(:Feature) WHERE flow.graphs = 0
DELETE flow
RETURN count(*) AS flows
