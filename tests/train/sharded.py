"""A few steps with the model's layers divided over processes, by gloo on a CPU; writes the losses.

accelerate divides over cards only, so this calls torch's own `fully_shard` on the layers that
`train.finetune` names to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import MllamaForConditionalGeneration, MllamaImageProcessor

from train.finetune.archive import Pictures
from train.finetune.examples import read_examples
from train.finetune.inputs import Collator, Encoder, Encodings
from train.finetune.learning import WRAPPED

BATCH, STEPS = 4, 6


def main() -> None:
    base, data, out = map(Path, sys.argv[1:4])
    meeting, rank, n = sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=n)
    torch.manual_seed(0)
    model = MllamaForConditionalGeneration.from_pretrained(base, torch_dtype=torch.float32)
    with torch.no_grad():  # something to learn
        model.lm_head.weight.mul_(0.1)
    mesh = init_device_mesh("cpu", (n,))
    wrapped = [module for module in model.modules() if type(module).__name__ in WRAPPED]
    assert len(wrapped) == 9 + 4 + 1
    for module in wrapped:
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    encoder = Encoder(base)
    found = read_examples(data / "train.jsonl", has=Pictures(data).has).kept
    items = Encodings(found, encoder, data, MllamaImageProcessor.from_pretrained(base))
    collate = Collator(0, encoder.image_token, 4096)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4)
    losses = []
    for _ in range(STEPS):
        mine = range(rank, BATCH, n)
        batch = collate([items[i] for i in mine])
        loss = model(**batch, use_cache=False).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        told = loss.detach().clone()
        dist.all_reduce(told)
        losses.append(told.item() / n)
    if rank == 0:
        out.write_text(json.dumps(losses))
    dist.barrier()  # nobody leaves while another still waits for it
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
