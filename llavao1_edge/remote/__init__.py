"""A model on a server that speaks OpenAI's protocol, as a backend of the engine.

The search stays here, the server writes: a candidate is a request that goes on in the assistant's
message. `dialect` says how each kind of server is asked, `probe` finds out what one can, `client`
talks to it, `drafter` and `judge` are what strategies see, `backend` holds the conversations.
"""

from llavao1_edge.remote.backend import RemoteBackend, connect

__all__ = ["RemoteBackend", "connect"]
