// name:    set_version
// purpose: Record which version of the vocabulary and which constraints and indexes the database has.
// params:  $version  integer  schema.SCHEMA_VERSION
//          $digest   string   hash of the files of cypher/schema
// returns: version   integer  the version that was there before, or this one in a new database
// access:  write
MERGE (meta:Meta {name: 'schema'})
ON CREATE SET meta.version = $version
SET meta.digest = $digest
RETURN meta.version AS version
