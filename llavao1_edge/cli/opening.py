"""Opens what a command line names: a model on this machine, or one on a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llavao1_edge.locate import model_paths
from llavao1_edge.search import Strategy
from llavao1_edge.settings import RuntimeSettings

if TYPE_CHECKING:
    from llavao1_edge.engine import Engine


def opened(
    model: str,
    mmproj: str | None,
    *,
    server: str | None,
    server_model: str | None,
    settings: RuntimeSettings,
    search: Strategy,
    n_pictures: int,
    stop: Callable[[], bool],
) -> Engine:
    """Raises UsageError, before anything is loaded, for more pictures than the model takes."""
    from llavao1_edge.engine import Engine, check_pictures

    if server is not None:
        return Engine.connect(server, model=server_model, settings=settings, stop=stop)
    text, mmproj_path = model_paths(model, mmproj)
    check_pictures(text, mmproj_path, n_pictures)
    return Engine.open(text=text, mmproj=mmproj_path, settings=settings, search=search, stop=stop)
