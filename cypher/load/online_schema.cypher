// name:    online_schema
// purpose: Which constraints and indexes does the database have, ready for use?
// params:  none
// returns: name        string  as in cypher/schema
//          constraint  string  the same, where it is a constraint; else null
// access:  read
SHOW INDEXES YIELD name, state, owningConstraint WHERE state = 'ONLINE'
RETURN name AS name, owningConstraint AS constraint
