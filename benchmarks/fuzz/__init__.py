"""Damaging real model files in many thousand ways and running what is left: `python -m edge_effnet.benchmarks.fuzz`."""
