// name:    commits
// purpose: How many commits were announced so far, and is one under way?
// params:  none
// returns: commits  integer  number so far
//          busy     boolean  whether one is under way
// access:  read
MATCH (meta:Meta {name: 'schema'})
RETURN coalesce(meta.commits, 0) AS commits, EXISTS { MATCH (mark:Meta) WHERE mark.until > timestamp() } AS busy
