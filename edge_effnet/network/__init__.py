"""A trained network as a graph of operators, with all that is known of it (records.py).

Nothing is imported here: the runtime needs geometry.py alone, at each start.
"""
