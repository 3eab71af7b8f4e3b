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
  UNION
  UNWIND CASE WHEN wild THEN [] ELSE [replace(replace(term, '\\', ' '), '"', ' ')] END AS words
  CALL db.index.fulltext.queryNodes('node_labels', '"' + words + '"') YIELD node
  WITH node WHERE node:ActiveFeature
  RETURN node
  UNION
  UNWIND CASE WHEN wild AND pieces <> [] THEN pieces[0..1] ELSE [] END AS piece
  MATCH (node:Node) USING TEXT INDEX node:Node(label_key) WHERE node.label_key CONTAINS piece
    AND node.label_key =~ '(?is)\\Q' + replace(replace(term, '*', '\\E.*\\Q'), '?', '\\E.\\Q') + '\\E'
  RETURN node
  UNION
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

// the strongest way from each node of a text to each node of the next one
UNWIND range(1, size(groups) - 1) AS place
UNWIND range(0, size(groups[place]) - 1) AS to_at
WITH graph_id, groups, place, to_at, groups[place][to_at] AS target, groups[place - 1] AS sources
MATCH way = (target)<-[:AFFECTS*1..3]-(source)
WHERE all(edge IN relationships(way) WHERE edge.share >= $min_share) AND source IN sources
WITH graph_id, groups, place, to_at, source, relationships(way) AS edges,
     reduce(strength = 1.0, edge IN relationships(way) | strength * edge.share) AS strength
ORDER BY strength DESC
WITH graph_id, groups, place, to_at, source, collect(edges)[0] AS edges, max(strength) AS strength
WITH graph_id, groups, place, collect({
       to_at: to_at, from_at: [at IN range(0, size(groups[place - 1]) - 1) WHERE groups[place - 1][at] = source][0],
       edges: reverse(edges), strength: strength}) AS ways ORDER BY place
WITH graph_id, groups, collect(ways) AS ways WHERE size(ways) = size(groups) - 1

// chained: the best path that ends in each node of the second text, of the third, ...
WITH graph_id, reduce(
       best = [node IN groups[0] | {strength: 1.0, edges: []}],
       place IN range(1, size(groups) - 1) |
         [to_at IN range(0, size(groups[place]) - 1) | reduce(
           top = {strength: 0.0, edges: []},
           way IN [way IN ways[place - 1] WHERE way.to_at = to_at] |
             CASE WHEN best[way.from_at].strength * way.strength > top.strength
                  THEN {strength: best[way.from_at].strength * way.strength,
                        edges: best[way.from_at].edges + way.edges}
                  ELSE top END)]) AS best
UNWIND best AS path
WITH graph_id, path WHERE path.strength > 0 ORDER BY path.strength DESC
WITH graph_id, collect(path)[0] AS path
MATCH (graph:Graph {graph_id: graph_id, ready: true}) USING INDEX SEEK graph:Graph(graph_id)
WITH graph, path.strength AS strength, path.edges AS edges,
     [startNode(path.edges[0])] + [edge IN path.edges | endNode(edge)] AS nodes
RETURN graph.graph_id AS graph_id, graph.slug AS slug, graph.prompt AS prompt, strength,
       [node IN nodes | node.node_id] AS node_ids, [node IN nodes | node.label] AS labels,
       [edge IN edges | edge.effect] AS effects, [edge IN edges | edge.share] AS shares
ORDER BY strength DESC, graph_id
LIMIT $limit
