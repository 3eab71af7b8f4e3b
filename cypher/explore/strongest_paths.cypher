// name:    strongest_paths
// purpose: Which paths of up to 6 links carry most from one node of a graph to another?
//          The number of paths grows fast as $min_share falls; an exact search without a limit is
//          `throughline circuits`.
// params:  $graph_id   string        graph to look in
//          $source     string        node_id where the paths start
//          $target     string        node_id where they end
//          $min_share  float         default 0.05; links that are a smaller part of their target's input are left out
//          $limit      integer       default 5; how many paths to return
// returns: strength    float         product of shares along the path, 0 to 1
//          node_ids    list<string>  the path, node by node
//          labels      list<string>  their labels
//          effects     list<float>   signed direct effect of each link
//          shares      list<float>   share of each link
// access:  read
MATCH (source:Node {graph_id: $graph_id, node_id: $source}), (target:Node {graph_id: $graph_id, node_id: $target})
USING INDEX SEEK source:Node(graph_id, node_id) USING INDEX SEEK target:Node(graph_id, node_id)
MATCH path = (target)<-[:AFFECTS*1..6]-(source)
WHERE all(edge IN relationships(path) WHERE edge.share >= $min_share)
WITH reverse(nodes(path)) AS nodes, reverse(relationships(path)) AS edges
RETURN reduce(strength = 1.0, edge IN edges | strength * edge.share) AS strength,
       [node IN nodes | node.node_id] AS node_ids, [node IN nodes | node.label] AS labels,
       [edge IN edges | edge.effect] AS effects, [edge IN edges | edge.share] AS shares
ORDER BY strength DESC, node_ids
LIMIT $limit
