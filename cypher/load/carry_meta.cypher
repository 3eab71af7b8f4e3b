// name:    carry_meta
// purpose: Take over what the database before this one said of itself: its rebuild goes on in this one.
// params:  $meta   map      what it said
// returns: version integer  its version
// access:  write
MATCH (meta:Meta {name: 'schema'})
SET meta += $meta
RETURN meta.version AS version
