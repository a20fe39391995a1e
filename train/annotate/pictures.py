"""Pictures as they are sent, and as they lie beside the result: what was seen is learnt."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from llavao1_edge.files import write_whole
from llavao1_edge.images import open_picture, read_picture
from llavao1_edge.remote.requests import encoded

FOLDER = "images"
KINDS = ("png", "jpeg")
LONGEST_SIDE = 2240  # four tiles of 560 in a row: the model that learns sees no more


def digest_of(source: bytes | Path) -> str:
    """Of the file as it is: nothing is decoded to find a reply that is known. Raises
    PictureError."""
    data = source if isinstance(source, bytes) else read_picture(source)
    return hashlib.sha256(data).hexdigest()[:24]


class Pictures:
    """Those of a result, by the digest of the file that they were made from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def name(self, source: bytes | Path, digest: str) -> str:
        """The picture's name in the folder of the result, where it is written unless it is there.
        Raises PictureError, OSError."""
        for kind in KINDS:
            name = f"{FOLDER}/{digest}.{kind}"
            if (self._folder / name).exists():
                return name
        image = open_picture(source).image
        if max(image.size) > LONGEST_SIDE:
            image = image.copy()
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        kind, data = encoded(image)
        path = self._folder / FOLDER / f"{digest}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        return f"{FOLDER}/{path.name}"

    def url(self, name: str) -> str:
        """Raises OSError."""
        data = base64.b64encode((self._folder / name).read_bytes()).decode()
        return f"data:image/{name.rpartition('.')[2]};base64,{data}"
