// name:    end_emptying
// purpose: Say that the database that is made anew is empty, so that a run that is cut off goes on with filling it.
// params:  $version  integer  version of what will be stored
// returns: step      string   filling
// access:  write
MATCH (meta:Meta {name: 'schema'})
SET meta.rebuild_step = 'filling', meta.version = $version
RETURN meta.rebuild_step AS step
