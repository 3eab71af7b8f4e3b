"""Find circuits in attribution graphs: patterns of waypoints, exact flow, the strongest paths."""
