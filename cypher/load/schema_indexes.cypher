// name:    schema_indexes
// purpose: Which constraints and indexes does the database have?
// params:  none
// returns: name        string        as in cypher/schema
//          type        string        RANGE, TEXT or FULLTEXT
//          labels      list<string>  labels or types of what it is of
//          properties  list<string>  what it is by
//          constraint  string        the name again, where a constraint has it; else null
//          state       string        ONLINE, POPULATING or FAILED
// access:  read
SHOW INDEXES YIELD name, type, labelsOrTypes, properties, owningConstraint, state
RETURN name AS name, type AS type, labelsOrTypes AS labels, properties AS properties, owningConstraint AS constraint,
       state AS state
