// name:    unlabelled
// purpose: How many nodes have no label at all? None of ours is without.
// params:  none
// returns: nodes  integer  how many
// access:  read
MATCH (node) WHERE size(labels(node)) = 0
RETURN count(*) AS nodes
