"""Experiment trackers: what they are told of a run, and the processes that write to them.

metrics.jsonl is the truth. A tracker is written from it by a process of its own, so that one that is slow, hangs or
crashes cannot slow down or end a training. The trackers themselves are components: `engine/trackers/`.
"""
