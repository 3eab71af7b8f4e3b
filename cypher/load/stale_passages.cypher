// name:    stale_passages
// purpose: How many passages belong to commands that died? Asked first, so that who only reads writes nothing.
// params:  none
// returns: passages  integer  how many
// access:  read
MATCH (passage:Passage)
WHERE passage.until < timestamp()
RETURN count(*) AS passages
