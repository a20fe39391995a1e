"""The first sample of the demo, for scripts: its picture, question or answer.

python3 packaging/sample.py picture|question|answer
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "llavao1_edge" / "demo" / "samples"
first = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))[0]
what = sys.argv[1]
print(FOLDER / first[what] if what == "picture" else first[what], end="")
