"""The parts of Llama-3.2-Vision that llama.cpp lacks: vision tower, projector, cross-attention.

Knows no prompts, no stages and no sampling. Source of the semantics: transformers 4.45-4.54.1.
"""
