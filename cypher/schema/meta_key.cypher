// name:    meta_key
// purpose: One (:Meta) node, which records the version of the schema.
// params:  none
// returns: none
// access:  schema
CREATE CONSTRAINT meta_key IF NOT EXISTS FOR (meta:Meta) REQUIRE meta.name IS UNIQUE
