"""Fakes that we ship: strategies and apps can be tested without a model, by us and by others."""

from llavao1_edge.testing.engine import Script, ScriptedBackend, ScriptedEngine
from llavao1_edge.testing.scripted import ScriptedDrafter, ScriptedJudge

__all__ = ["Script", "ScriptedBackend", "ScriptedDrafter", "ScriptedEngine", "ScriptedJudge"]
