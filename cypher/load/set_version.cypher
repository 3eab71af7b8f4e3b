// name:    set_version
// purpose: Record which version of what is stored and which constraints and indexes the database has.
// params:  $version  integer  store.STORE_VERSION
//          $digest   string   hash of the files of cypher/schema
// returns: version   integer  the version that was there before, or this one in a new database
// access:  write
MERGE (meta:Meta {name: 'schema'})
ON CREATE SET meta.version = $version
SET meta.digest = $digest
RETURN meta.version AS version
