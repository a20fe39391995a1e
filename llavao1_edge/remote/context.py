"""What the parts of one answer by a server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from llavao1_edge.backend import Request, Stop
from llavao1_edge.remote.client import Client
from llavao1_edge.remote.probe import Server
from llavao1_edge.remote.requests import Messages
from llavao1_edge.search import Budget
from llavao1_edge.search.answer import Counters


@dataclass
class Context:
    """counters, remarks: of the answer; the parts add to them."""

    client: Client
    server: Server
    messages: Messages
    request: Request
    budget: Budget
    stop: Stop
    counters: Counters
    remarks: list[str] = field(default_factory=list)
