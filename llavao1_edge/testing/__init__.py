"""Fakes that we ship: strategies can be tested without a model, by us and by others."""

from llavao1_edge.testing.scripted import ScriptedDrafter, ScriptedPanel

__all__ = ["ScriptedDrafter", "ScriptedPanel"]
