// name:    graphs
// purpose: Which graphs are in the store?
// params:  none
// returns: graph_id            string   content hash
//          slug                string   short name, not unique
//          prompt              string   the text that was traced
//          model               string   name of the model
//          source_set          string   name of the feature dictionary
//          origin              string   what computed the effects
//          complete            boolean  whether shares are over all inputs
//          target              string   what the outputs stand for: logit or log-odds
//          n_nodes             integer  nodes in the store (the pruned graph)
//          n_edges             integer  direct effects in the store
//          replacement_score   float    0 to 1, or null where no file told it
//          completeness_score  float    0 to 1, or null where no file told it
//          ingested_at         string   when the database took it in, or its labels changed, ISO 8601
// access:  read
MATCH (graph:Graph {ready: true})
RETURN graph.graph_id AS graph_id, graph.slug AS slug, graph.prompt AS prompt, graph.model AS model,
       graph.source_set AS source_set, graph.origin AS origin, graph.complete AS complete, graph.target AS target,
       graph.n_nodes AS n_nodes, graph.n_edges AS n_edges, graph.replacement_score AS replacement_score,
       graph.completeness_score AS completeness_score, toString(graph.ingested_at) AS ingested_at
ORDER BY slug, graph_id
