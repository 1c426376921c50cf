"""Measuring live classification: announcements, overhead, viewers, a long run: `python -m edge_effnet.benchmarks.live
--help`.
"""
