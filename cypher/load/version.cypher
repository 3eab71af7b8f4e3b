// name:    version
// purpose: Which version of the vocabulary and which constraints and indexes does the database have?
// params:  none
// returns: version  integer  schema.SCHEMA_VERSION of the program that made it
//          digest   string   hash of the files of cypher/schema
// access:  read
MATCH (meta:Meta {name: 'schema'})
RETURN meta.version AS version, meta.digest AS digest
