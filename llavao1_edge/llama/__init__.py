"""Owning handles over llama.cpp's C interface: model, context, batch, samplers, log.

Knows no pictures, no stages and no prompts.
"""
