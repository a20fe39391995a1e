"""Fakes that we ship: strategies can be tested without a model, by us and by others."""

from llavao1_edge.testing.scripted import ScriptedDrafter

__all__ = ["ScriptedDrafter"]
