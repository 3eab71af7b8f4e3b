// name:    begin_rebuild
// purpose: Say that the database is being made anew from the library, and by whom, unless another command is at it.
// params:  $owner   string   name of this run
//          $for_ms  integer  after this time a run that said nothing more no longer counts
// returns: step     string   emptying or filling: where this run, or one that was cut off, stands
// access:  write
MATCH (meta:Meta {name: 'schema'})
SET meta.name = 'schema'
WITH meta
WHERE meta.rebuild_owner IS NULL OR meta.rebuild_owner = $owner OR meta.rebuild_until < timestamp()
SET meta.rebuild_owner = $owner, meta.rebuild_until = timestamp() + $for_ms,
    meta.rebuild_step = coalesce(meta.rebuild_step, 'emptying')
RETURN meta.rebuild_step AS step
