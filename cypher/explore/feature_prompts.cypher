// name:    feature_prompts
// purpose: In which graphs does one feature occur, at which tokens, how active and how influential?
// params:  $source_set   string         the dictionary
//          $layer        integer        of the feature
//          $index        integer        entry of the dictionary
//          $limit        integer        default 1000; how many graphs to return
// returns: graph_id      string         the graph
//          slug          string         its short name
//          prompt        string         the text that was traced
//          tokens        list<string>   the prompt, token by token
//          node_ids      list<string>   its occurrences, the most influential first
//          positions     list<integer>  their token positions, from 0
//          activations   list<float>    their values; NaN where no file told it
//          influences    list<float>    theirs, each 0 to 1
//          influence     float          of all of them together
//          label         string         what the feature is thought to mean in this graph, or empty
//          label_note    string         where that label comes from
// access:  read
MATCH (feature:Feature {source_set: $source_set, layer: $layer, index: $index})<-[:INSTANCE_OF]-(node:Node)-[:IN]->(graph:Graph)
USING INDEX SEEK feature:Feature(source_set, layer, index)
WITH graph, node ORDER BY node.influence DESC, node.node_id
WITH graph, collect(node) AS nodes
RETURN graph.graph_id AS graph_id, graph.slug AS slug, graph.prompt AS prompt, graph.tokens AS tokens,
       [node IN nodes | node.node_id] AS node_ids, [node IN nodes | node.position] AS positions,
       [node IN nodes | coalesce(node.activation, toFloat('NaN'))] AS activations,
       [node IN nodes | node.influence] AS influences,
       reduce(sum = 0.0, node IN nodes | sum + node.influence) AS influence,
       nodes[0].label AS label, nodes[0].label_note AS label_note
ORDER BY influence DESC, graph_id
LIMIT $limit
