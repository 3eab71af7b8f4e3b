// name:    end_rebuild
// purpose: Say that the database is complete again.
// params:  none
// returns: commits  integer  how many commits were announced so far
// access:  write
MATCH (meta:Meta {name: 'schema'})
REMOVE meta.rebuild_owner, meta.rebuild_until, meta.rebuild_step
RETURN meta.commits AS commits
