"""Llama-3.2-Vision checkpoint + four-stage answers → your own LLaVA-o1: in full, by LoRA or QLoRA.

The training itself is transformers' Trainer on accelerate, adapters are PEFT's; ours are the data,
the mask of what is learnt, the plan of the memory, and the questions asked on the way.
"""
