"""Small random models of the kinds that llama.cpp runs itself, as GGUF pairs. Made by `make`."""

from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = ("qwen2vl", "idefics3", "gemma3", "lfm2")
TRAINED = "shapes"  # by `train.native`, on the demo's task


def pair(name: str) -> tuple[Path, Path]:
    """(text, mmproj)."""
    return FOLDER / f"{name}.gguf", FOLDER / f"mmproj-{name}.gguf"
