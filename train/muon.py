"""Muon for small models on a CPU: orthogonalised momentum, same-shaped matrices in one batch.

`torch.optim.Muon` iterates in bfloat16 one matrix at a time, which is several times slower on a
CPU than the step it serves. Source of the method: Jordan et al. 2024; the scale 0.2*sqrt(max(m, n))
is Moonlight's (Liu et al. 2025), so that learning rates compare with AdamW's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(stack: Tensor, *, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices of a (batch, m, n) stack, approximately."""
    a, b, c = NEWTON_SCHULZ
    tall = stack.shape[-2] > stack.shape[-1]
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, with decoupled weight decay. Only for 2-D parameters."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                directions = orthogonalise(
                    torch.stack([self._momentum(p, group["momentum"]) for p in parameters])
                )
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter.mul_(1 - group["lr"] * group["decay"])
                    parameter.add_(direction, alpha=-scale)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        assert parameter.grad is not None
        state = self.state[parameter]
        if "buffer" not in state:
            state["buffer"] = torch.zeros_like(parameter)
        state["buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["buffer"], momentum)
