// name:    circuits_through
// purpose: Through which graphs does a path visit these texts in order, and which path is the strongest in each?
//          A text names tokens and outputs by equality (case and outer blanks aside) and features by words of their
//          label; with `*` or `?` it is compared with the whole text of any node; `20_15589` is a feature by layer and
//          index; `a|b` is either. As first text it means tokens where some token fits, as last one outputs. Between
//          two texts the path has 1 to 3 links, each with a share of at least $min_share.
// params:  $terms      list<string>  at least two texts, such as ["Dallas", "Texas", "Austin"]
//          $min_share  float         default 0.01; links that are a smaller part of their target's input are left out
//          $limit      integer       default 50; how many graphs to return
// returns: graph_id    string        where it was found
//          slug        string        short name of the graph
//          prompt      string        the text that was traced
//          strength    float         product of shares along the strongest path, 0 to 1
//          node_ids    list<string>  the strongest path, node by node
//          labels      list<string>  their labels
//          effects     list<float>   signed direct effect of each link of it
//          shares      list<float>   share of each link of it
// access:  read

// the nodes that each text names, found by index
UNWIND range(0, size($terms) - 1) AS place
UNWIND split($terms[place], '|') AS alternative
WITH place, trim(alternative) AS term,
     [piece IN split(replace(toLower(trim(alternative)), '?', '*'), '*') WHERE piece <> ''] AS pieces,
     alternative CONTAINS '*' OR alternative CONTAINS '?' AS wild
CALL (term, wild, pieces) {
  MATCH (node:Node {label_key: toLower(term)}) USING INDEX SEEK node:Node(label_key) WHERE NOT wild AND NOT node:ActiveFeature
  RETURN node
  UNION ALL
  UNWIND CASE WHEN wild THEN [] ELSE [replace(replace(term, '\\', ' '), '"', ' ')] END AS words
  CALL db.index.fulltext.queryNodes('node_labels', '"' + words + '"') YIELD node
  WITH node WHERE node:ActiveFeature
  RETURN node
  UNION ALL
  UNWIND CASE WHEN wild THEN [coalesce(pieces[0], '')] ELSE [] END AS piece
  MATCH (node:Node) USING TEXT INDEX node:Node(label_key) WHERE node.label_key CONTAINS piece
    AND node.label_key =~ '(?is)\\Q' + replace(replace(term, '*', '\\E.*\\Q'), '?', '\\E.\\Q') + '\\E'
  RETURN node
  UNION ALL
  UNWIND CASE WHEN term =~ '\\d+_\\d+' THEN [split(term, '_')] ELSE [] END AS at
  MATCH (feature:Feature {layer: toInteger(at[0]), index: toInteger(at[1])})<-[:INSTANCE_OF]-(node:Node)
  USING INDEX SEEK feature:Feature(layer, index)
  RETURN node
}
WITH node.graph_id AS graph_id, place, collect(DISTINCT node) AS nodes
WITH graph_id, place,
     CASE WHEN place = 0 AND any(node IN nodes WHERE node:Token) THEN [node IN nodes WHERE node:Token]
          WHEN place = size($terms) - 1 AND any(node IN nodes WHERE node:Logit) THEN [node IN nodes WHERE node:Logit]
          ELSE nodes END AS nodes ORDER BY place
WITH graph_id, collect(nodes) AS groups WHERE size(groups) = size($terms)

// graph by graph, on all processors of the server (in transactions that only read, and end where this one is ended),
// from the last text back to the first: the best path that starts at each of the nodes of a text and goes on to the end.
// Of all ways that meet in a node only the best goes on, link by link, so ways are not listed; as links that are strong
// enough are few into a node and can be many out of it, up to two are followed backwards, and one out of the text
// before. Those come first: a way that goes back two links counts only where one of them ends
CALL (groups) {
  WITH groups, size(groups) - 2 AS last
  UNWIND reduce(
    paths = [node IN groups[last + 1] | [node, 1.0, []]],
    place IN range(last, 0, -1) | COLLECT {
      CALL (groups, place) {
        UNWIND groups[place] AS source
        MATCH (source)-[edge:AFFECTS]->(node) WHERE edge.share >= $min_share
        RETURN collect([node, edge, source]) AS firsts, collect(DISTINCT node) AS reached
      }
      CALL (paths) {
        UNWIND paths AS path
        WITH path[0] AS target, path[1] AS strength, path[2] AS edges
        MATCH (target)<-[edge:AFFECTS]-(source) WHERE edge.share >= $min_share
        WITH source, max([strength * edge.share, [edge] + edges]) AS best
        RETURN collect([source, best[0], best[1]]) AS near
      }
      CALL (paths, near, reached) {
        CALL (paths, near, reached) {
          UNWIND [way IN paths + near WHERE way[0] IN reached] AS way
          RETURN way[0] AS node, [way[1], way[2]] AS way
          UNION ALL
          UNWIND near AS way
          WITH way[0] AS source, way[1] AS strength, way[2] AS edges, reached
          MATCH (source)<-[edge:AFFECTS]-(node) WHERE edge.share >= $min_share AND node IN reached
          RETURN node, [strength * edge.share, [edge] + edges] AS way
        }
        WITH node, max(way) AS best
        RETURN collect([node, best]) AS ways, collect(node) AS met
      }
      CALL (firsts, ways, met) {
        UNWIND ways AS way
        RETURN way[0] AS node, way[1] AS way, null AS first
        UNION ALL
        UNWIND [first IN firsts WHERE first[0] IN met] AS first
        RETURN first[0] AS node, null AS way, first
      }
      WITH node, max(way) AS way, collect(first) AS firsts
      UNWIND firsts AS first
      WITH first[1] AS edge, first[2] AS node, way
      WITH node, max([way[0] * edge.share, [edge] + way[1]]) AS best
      RETURN [node, best[0], best[1]]
    }) AS path
  RETURN max([path[1], path[2]]) AS path
} IN 8 CONCURRENT TRANSACTIONS OF 5 ROWS
WITH graph_id, path WHERE path IS NOT NULL
MATCH (graph:Graph {graph_id: graph_id, ready: true}) USING INDEX SEEK graph:Graph(graph_id)
WITH graph, path[0] AS strength, path[1] AS edges, [startNode(path[1][0])] + [edge IN path[1] | endNode(edge)] AS nodes
RETURN graph.graph_id AS graph_id, graph.slug AS slug, graph.prompt AS prompt, strength,
       [node IN nodes | node.node_id] AS node_ids, [node IN nodes | node.label] AS labels,
       [edge IN edges | edge.effect] AS effects, [edge IN edges | edge.share] AS shares
ORDER BY strength DESC, graph_id
LIMIT $limit
