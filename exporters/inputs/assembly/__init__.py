"""Turning what a file computes, operator by operator, into the graph: shared by all inputs that say it."""
