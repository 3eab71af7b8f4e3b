// name:    hold_store
// purpose: Keep every other commit of a graph from being announced until the end of the transaction, and tell whether
//          there is anything but what the database says of itself.
// params:  none
// returns: filled  boolean  whether there is any other node
//          meta    map      what the database says of itself
// access:  write
MATCH (meta:Meta {name: 'schema'})
SET meta.name = 'schema'
RETURN EXISTS { MATCH (node) WHERE NOT node:Meta } AS filled, properties(meta) AS meta
