"""Pictures of many kinds with ground truth for every stage: what the demo model learns from.

One family of pictures per file; each draws a `Scene` from a `random.Random` alone, so a seed and
an index name a picture for ever. `families` knows them all.
"""
