"""What this machine can compute on: plug-ins that were added, RPC servers, and the choice of both.

Knows ggml and files, no model. The engine asks for devices here before it plans its memory.
"""

from llavao1_edge.devices.choice import Chosen, choose
from llavao1_edge.devices.ready import machine_devices

__all__ = ["Chosen", "choose", "machine_devices"]
