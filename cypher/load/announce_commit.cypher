// name:    announce_commit
// purpose: Say that a transaction with a graph is about to be committed: Neo4j applies a commit record by record, so
//          a reader that meets it must read again.
// params:  $mark    string   name of this commit
//          $for_ms  integer  after this time the mark of a writer that died no longer counts
// returns: commits  integer  how many were announced so far
// access:  write
OPTIONAL MATCH (old:Meta) WHERE old.until < timestamp()
DETACH DELETE old
WITH count(*) AS old
MERGE (mark:Meta {name: $mark})
SET mark.until = timestamp() + $for_ms
WITH mark
MATCH (meta:Meta {name: 'schema'})
SET meta.commits = coalesce(meta.commits, 0) + 1
RETURN meta.commits AS commits
