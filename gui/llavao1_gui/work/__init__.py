"""Processes and threads behind the window; only messages and finished pictures come out."""
