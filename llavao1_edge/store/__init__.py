"""Models on this machine: the catalogue, its folders, and what comes from the hub.

Knows files, digests and names; computes nothing and loads nothing native.
"""
