"""How often is a model right? Data sets, answer matching, resumable runs, reports.

Sees models through the engine only; everything but `runs` is pure.
"""
