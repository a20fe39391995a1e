"""How fast this processor can do the parts of reading a picture, at the sizes of the 11B model.

    python -m benchmarks.tower_rates

Products of rows with a layer's weights, by number type; scores of keys and queries and the mixing
of values, by type and by the width of a head (80, and filled up to 96); whole attention of four
tiles as we do it, by the rows of a block; and torch, where it is installed. All in GFLOPS of the
work that counts, best of three.
"""

from __future__ import annotations

import numpy as np

from benchmarks.machine import header
from llavao1_edge import RuntimeSettings
from llavao1_edge.ggml.backend import Backend, cpu_device
from llavao1_edge.ggml.types import BF16, F16, F32, Q8_0
from llavao1_edge.mllama import attention
from llavao1_edge.mllama.arithmetic import fastest, product_seconds

WIDTH, FFN, HEADS, HEAD, TILE = 1280, 5120, 16, 80, 1601
BLOCKS = (32, 64, 128, 256, 512)


def products(backend: Backend) -> None:
    work = 2 * WIDTH * FFN * TILE / 1e9
    print("\n| rows with weights | GFLOPS |\n|---|---|")
    for kind in (F32, F16, BF16, Q8_0):
        print(
            f"| ggml, {kind.name} | {work / product_seconds(backend, kind, WIDTH, FFN, TILE):.0f} |"
        )
    x, weight = np.ones((TILE, WIDTH), np.float32), np.ones((WIDTH, FFN), np.float32)
    out = np.empty((TILE, FFN), np.float32)
    print(f"| numpy, F32 | {work / fastest(lambda: np.matmul(x, weight, out=out)):.0f} |")


def parts(backend: Backend) -> None:
    print("\n| attention in ggml, blocks of 64 rows | keys | scores | scores, 96 wide | mixing |")
    print("|---|---|---|---|---|")
    for keys in (1632, 6432):  # a multiple of 32 above one and four tiles
        work = 2 * HEAD * keys * 64 * HEADS / 1e9
        for kind in (F32, BF16):
            made = (
                product_seconds(backend, kind, HEAD, keys, 64, heads=HEADS),
                product_seconds(backend, kind, 96, keys, 64, heads=HEADS),
                product_seconds(backend, kind, keys, HEAD, 64, heads=HEADS),
            )
            cells = " | ".join(f"{work / one:.0f}" for one in made)
            print(f"| {kind.name} | {keys} | {cells} |")


def whole(n_threads: int) -> None:
    n = 4 * TILE
    work = 4 * n * n * WIDTH / 1e9
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((n, WIDTH), dtype=np.float32) for _ in range(3))
    ones, out = np.ones(n, np.float32), np.empty_like(q)
    print("\n| attention of four tiles | GFLOPS |\n|---|---|")
    with attention.Blas(heads=HEADS, n_threads=n_threads) as blas:
        for rows in BLOCKS:
            attention.BLOCK_ROWS = rows
            taken = fastest(lambda: blas.attend(q, k, v, ones, out))
            print(f"| ours, blocks of {rows} rows | {work / taken:.0f} |", flush=True)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(n_threads)
    dots = torch.nn.functional.scaled_dot_product_attention
    for dtype in (torch.float32, torch.bfloat16):
        heads = torch.from_numpy(q).reshape(n, HEADS, HEAD).permute(1, 0, 2)[None].to(dtype)
        taken = fastest(lambda heads=heads: dots(heads, heads, heads))  # type: ignore[misc]
        print(f"| torch, {dtype} | {work / taken:.0f} |", flush=True)
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = torch.ones(TILE, WIDTH, dtype=dtype), torch.ones(WIDTH, FFN, dtype=dtype)
        taken = fastest(lambda x=x, weight=weight: x @ weight)  # type: ignore[misc]
        print(f"| torch, {dtype}, rows with weights | {2 * WIDTH * FFN * TILE / taken / 1e9:.0f} |")


def main() -> None:
    n_threads = RuntimeSettings().n_threads
    print(header("tower_rates"), flush=True)
    backend = Backend(cpu_device(), n_threads=n_threads)
    try:
        products(backend)
        parts(backend)
    finally:
        backend.close()
    whole(n_threads)


if __name__ == "__main__":
    main()
