"""Pictures of coloured shapes with questions whose answers are sure.

One each of count, exists, attribute, more, left, choice. The demo model knows them, and so does the
native one (`tests/native_models`).
"""

from __future__ import annotations

import json
from pathlib import Path

from llavao1_edge.demo import Sample

_FOLDER = Path(__file__).parent
SAMPLES = [
    Sample(_FOLDER / row["picture"], row["question"], row["answer"])
    for row in json.loads((_FOLDER / "samples.json").read_text(encoding="utf-8"))
]
