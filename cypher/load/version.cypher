// name:    version
// purpose: Which version of what is stored and which constraints and indexes does the database have?
// params:  none
// returns: version  integer  store.STORE_VERSION of the program that made it
//          digest   string   hash of the files of cypher/schema
//          step     string   where a rebuild that is under way, or was cut off, stands; else null
// access:  read
MATCH (meta:Meta {name: 'schema'})
RETURN meta.version AS version, meta.digest AS digest, meta.rebuild_step AS step
