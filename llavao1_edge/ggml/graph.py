"""Building graphs and computing them again and again."""

from __future__ import annotations

from llavao1_edge.errors import BackendError, OutOfMemory
from llavao1_edge.ggml import library as c
from llavao1_edge.ggml.backend import Backend, Place, place
from llavao1_edge.ggml.tensor import Arena, Tensor
from llavao1_edge.ggml.types import BF16, F16, F32, StorageType
from llavao1_edge.lifetime import Closing

HALVES = (F16.number, BF16.number)


PRECISION_F32 = 10  # enum ggml_prec


def _summed_in_f32(tensor: Tensor) -> Tensor:
    c.ggml_prec_set_acc(tensor.address, PRECISION_F32)
    return tensor


class Scratch:
    """Working memory that the graphs of one backend share; they never run at the same time.

    It grows to the largest graph. Growing moves it, so plans allocated before are no longer
    `valid` and must be built again: allocate the largest first.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.address = c.ggml_gallocr_new(c.ggml_backend_dev_buffer_type(backend.device.address))
        self.generation = 0

    def allocate(self, graph: int) -> None:
        """Raises UnsupportedOperation, OutOfMemory."""
        self._backend.check(graph)
        before = self.n_bytes if self.generation else 0
        if not c.ggml_gallocr_alloc_graph(self.address, graph):
            self.generation += 1  # the old memory may be gone already
            raise OutOfMemory(
                "not enough memory to compute a graph",
                hint="Close other programs, or compute the picture on the CPU (--gpu-layers 0).",
            )
        if self.n_bytes > before:
            self.generation += 1

    @property
    def n_bytes(self) -> int:
        return c.ggml_gallocr_get_buffer_size(self.address, 0)

    def close(self) -> None:
        if self.address:
            c.ggml_gallocr_free(self.address)
            self.address = 0


class Plan(Closing):
    """One graph: built by calling the methods, allocated by `finish`, computed by `run`."""

    def __init__(self, *, n_nodes: int = 128) -> None:
        self._arena = Arena(n_tensors=2 * n_nodes, graph_nodes=n_nodes)
        self.graph = c.ggml_new_graph_custom(self._arena.address, n_nodes, False)
        self._scratch: Scratch | None = None
        self._generation = 0

    # --- life ---
    def finish(self, scratch: Scratch) -> None:
        scratch.allocate(self.graph)
        self._scratch, self._generation = scratch, scratch.generation

    @property
    def valid(self) -> bool:
        return self._scratch is not None and self._generation == self._scratch.generation

    def run(self, backend: Backend) -> None:
        if not self.valid:
            raise BackendError("a graph was run that its scratch memory no longer holds")
        backend.compute(self.graph)

    def close(self) -> None:
        self._arena.close()
        self._scratch = None

    # --- leaves and results ---
    def input(self, kind: StorageType, *shape: int, name: str) -> Tensor:
        made = self._arena.tensor(kind, *shape, name=name)
        c.ggml_set_input(made.address)
        return made

    def outside(self, kind: StorageType, *shape: int, at: Place, name: str) -> Tensor:
        """A leaf on memory that somebody else owns; `move` puts it elsewhere before a run."""
        made = self._arena.tensor(kind, *shape, name=name)
        place(at, made)
        return made

    def output(self, tensor: Tensor) -> Tensor:
        """Marks a result: its memory is not reused by later nodes."""
        c.ggml_set_output(tensor.address)
        c.ggml_build_forward_expand(self.graph, tensor.address)
        return tensor

    def store(self, tensor: Tensor, target: Tensor) -> Tensor:
        """Copies (and converts) into a tensor that outlives the graph; returns the copy's node."""
        node = Tensor(c.ggml_cpy(self._arena.address, tensor.address, target.address))
        c.ggml_build_forward_expand(self.graph, node.address)
        return node

    # --- operations ---
    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return Tensor(c.ggml_add(self._arena.address, a.address, b.address))

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return Tensor(c.ggml_mul(self._arena.address, a.address, b.address))

    def matmul(self, weight: Tensor, x: Tensor) -> Tensor:
        """weight (k, m) x (k, n) → (m, n), ggml order."""
        return Tensor(c.ggml_mul_mat(self._arena.address, weight.address, x.address))

    def exact_matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """The same, summed up in F32 even where `a` is F16 (CUDA would use F16)."""
        return _summed_in_f32(self.matmul(a, b))

    def layer_norm(self, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        normed = Tensor(c.ggml_norm(self._arena.address, x.address, eps))
        return self.add(self.mul(normed, weight), bias)

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        normed = Tensor(c.ggml_rms_norm(self._arena.address, x.address, eps))
        return self.mul(normed, weight)

    def gelu(self, x: Tensor) -> Tensor:
        """The exact (erf) form, which the vision tower was trained with."""
        return Tensor(c.ggml_gelu_erf(self._arena.address, x.address))

    def swiglu(self, gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) * up."""
        return Tensor(c.ggml_swiglu_split(self._arena.address, gate.address, up.address))

    def scale(self, x: Tensor, factor: float) -> Tensor:
        return Tensor(c.ggml_scale(self._arena.address, x.address, factor))

    def pad_rows(self, x: Tensor, n: int) -> Tensor:
        """n rows of zeros after the last row."""
        return Tensor(c.ggml_pad(self._arena.address, x.address, 0, n, 0, 0)) if n else x

    def cast(self, x: Tensor, kind: StorageType) -> Tensor:
        if x.struct.type == kind.number:
            return x
        return Tensor(c.ggml_cast(self._arena.address, x.address, kind.number))

    def contiguous(self, x: Tensor) -> Tensor:
        return Tensor(c.ggml_cont(self._arena.address, x.address))

    def permute(self, x: Tensor, *axes: int) -> Tensor:
        """Old axis i becomes axis axes[i]."""
        return Tensor(c.ggml_permute(self._arena.address, x.address, *axes))

    def reshape(self, x: Tensor, *shape: int) -> Tensor:
        full = (*shape, 1, 1)[:4]
        return Tensor(c.ggml_reshape_4d(self._arena.address, x.address, *full))

    def rows(self, x: Tensor, start: int, n: int) -> Tensor:
        """A view of rows start..start+n of dimension 1 (of 2 or 3 dimensions)."""
        ne, nb = x.shape, x.strides
        return Tensor(
            c.ggml_view_3d(
                self._arena.address, x.address, ne[0], n, ne[2], nb[1], nb[2], start * nb[1]
            )
        )

    def columns(self, x: Tensor, n: int, *, start: int = 0) -> Tensor:
        """A view of n values of dimension 0."""
        ne, nb = x.shape, x.strides
        at = start * nb[0]
        return Tensor(
            c.ggml_view_3d(self._arena.address, x.address, n, ne[1], ne[2], nb[1], nb[2], at)
        )

    def planes(self, x: Tensor, start: int, n: int) -> Tensor:
        """A view of n planes of dimension 2."""
        ne, nb = x.shape, x.strides
        at = start * nb[2]
        return Tensor(
            c.ggml_view_3d(self._arena.address, x.address, ne[0], ne[1], n, nb[1], nb[2], at)
        )

    def softmax(self, x: Tensor, *, scale: float, mask: Tensor | None = None) -> Tensor:
        """mask: (values, rows), added to the scaled ones; minus infinity takes them out."""
        at = 0 if mask is None else mask.address
        return Tensor(c.ggml_soft_max_ext(self._arena.address, x.address, at, scale, 0.0))

    def flash_attention(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
        """q (d, n, heads), k and v (d, keys, heads) → (d, heads, n)."""
        fused = c.ggml_flash_attn_ext(
            self._arena.address, q.address, k.address, v.address, 0, scale, 0.0, 0.0
        )
        return _summed_in_f32(Tensor(fused))

    def widened(self, weight: Tensor) -> Tensor:
        """Half-precision weights as F32, so that activations are never narrowed to match them.

        Quantised weights stay: ggml multiplies them with its integer kernels.
        """
        return self.cast(weight, F32) if weight.struct.type in HALVES else weight
