// name:    anything
// purpose: Is there anything but what the database says of itself?
// params:  none
// returns: filled  boolean  whether there is
// access:  read
RETURN EXISTS { MATCH (node) WHERE NOT node:Meta } AS filled
