// name:    node_label_key
// purpose: Tokens and outputs by their text, without regard to case and outer blanks.
// params:  none
// returns: none
// access:  schema
CREATE RANGE INDEX node_label_key IF NOT EXISTS FOR (node:Node) ON (node.label_key)
