"""Read graph files, keep them in a library and in Neo4j, and ask them questions."""
