"""The C functions we call, each with its signature, Python types and reason in one place.

All symbols come from the handle that llama-cpp-python itself loaded. Opening `libggml*.so` by path
could give a second copy with its own state (the wheel holds it under several names).
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from llavao1_edge.errors import BackendError
from llavao1_edge.phrases import Phrase

U8 = Annotated[int, ctypes.c_uint8]
I32 = Annotated[int, ctypes.c_int32]
I64 = Annotated[int, ctypes.c_int64]
Size = Annotated[int, ctypes.c_size_t]
F32 = Annotated[float, ctypes.c_float]
Flag = Annotated[bool, ctypes.c_bool]
Text = Annotated[bytes, ctypes.c_char_p]
Address = Annotated[int, ctypes.c_void_p]
"""A pointer. 0 is NULL."""

ABORT = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
SET_THREADS = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
EXTRA_BUFFER_TYPES = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
ADD_SERVER = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)
START_SERVER = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
)
"""Functions that a backend gives out by address: see `plugins.procedure`."""

P = ParamSpec("P")
R = TypeVar("R")


class InitParams(ctypes.Structure):
    """`struct ggml_init_params`."""

    _fields_ = [
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    ]


class TensorStruct(ctypes.Structure):
    """`struct ggml_tensor`. Its layout is checked once per process, see `check_layout`."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    ]


class TypeTraits(ctypes.Structure):
    """The beginning of `struct ggml_type_traits`."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("block", ctypes.c_int64),
        ("block_interleaved", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantised", ctypes.c_bool),
        ("to_float", ctypes.c_void_p),
    ]


@functools.cache
def handles() -> tuple[ctypes.CDLL, ...]:
    """Library handles to look symbols up in, the best first."""
    try:
        from llama_cpp import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(
            Phrase("llama-cpp-python cannot be loaded: {error}", error=error),
            hint="Reinstall it with: pip install --force-reinstall 'llama-cpp-python>=0.3.36,<0.4'",
        ) from error
    main: ctypes.CDLL = llama_cpp._lib
    if os.name != "nt":
        return (main,)  # dlsym also searches the dependencies of a handle
    folder = library_folder()
    beside = neighbours(os.listdir(folder))  # noqa: PTH208
    return (main, *(ctypes.CDLL(os.path.join(folder, name)) for name in beside))  # noqa: PTH118


def neighbours(listing: Sequence[str]) -> list[str]:
    """The DLLs beside llama.dll that hold ggml's own functions.

    Not the backends of a portable build: a DLL for another processor may not even be loaded.
    """
    wanted = ("ggml-base.dll", "ggml.dll", "ggml-cpu.dll")
    return [name for name in sorted(listing) if name.lower() in wanted]


@functools.cache
def library_folder() -> str:
    """The folder of llama-cpp-python's libraries."""
    from llama_cpp import llama_cpp

    return str(Path(llama_cpp.__file__).parent / "lib")


def find(name: str) -> Any:
    """The C function `name`. Raises BackendError where this llama.cpp lacks it."""
    for handle in handles():
        function = getattr(handle, name, None)
        if function is not None:
            return function
    raise BackendError(
        Phrase("this llama.cpp has no function {name}", name=name),
        hint="Install llama-cpp-python>=0.3.36,<0.4, the range this version was tested with.",
    )


def c_function(declaration: Callable[P, R]) -> Callable[P, R]:
    """Binds a C function by the name and the annotations of an empty Python function.

    Binding waits for the first call, so that importing loads nothing. A NULL result is 0.
    """
    bound: Any = None
    null: Any = None if declaration.__annotations__["return"] == "None" else 0

    @functools.wraps(declaration)
    def call(*arguments: P.args, **_: P.kwargs) -> R:
        nonlocal bound
        if bound is None:
            bound = _bind(declaration)
        result: Any = bound(*arguments)
        return null if result is None else result  # type: ignore[no-any-return]

    return call


def _bind(declaration: Callable[..., Any]) -> Any:
    function = find(declaration.__name__)
    hints = get_type_hints(declaration, include_extras=True)
    returned = hints.pop("return")
    # A fresh function object per binding: other code may hold its own prototype of the same symbol.
    prototype = ctypes.CFUNCTYPE(_c_type(returned), *(_c_type(hint) for hint in hints.values()))
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    bound: Any = prototype(address)
    return bound


def address_of_function(callback: Any) -> int:
    """Of a callback made by ctypes, which must be kept as long as C may call it."""
    return ctypes.cast(callback, ctypes.c_void_p).value or 0


def _c_type(hint: Any) -> Any:
    if hint is type(None):
        return None
    return hint.__metadata__[0] if hasattr(hint, "__metadata__") else hint


# --- contexts and tensors -----------------------------------------------------------------------
@c_function
def ggml_init(params: InitParams) -> Address: ...
@c_function
def ggml_free(ctx: Address) -> None: ...
@c_function
def ggml_tensor_overhead() -> Size: ...
@c_function
def ggml_graph_overhead_custom(size: Size, grads: Flag) -> Size: ...
@c_function
def ggml_new_graph_custom(ctx: Address, size: Size, grads: Flag) -> Address: ...
@c_function
def ggml_new_tensor_4d(
    ctx: Address, type: I32, ne0: I64, ne1: I64, ne2: I64, ne3: I64
) -> Address: ...
@c_function
def ggml_set_name(tensor: Address, name: Text) -> Address: ...
@c_function
def ggml_set_input(tensor: Address) -> None: ...
@c_function
def ggml_set_output(tensor: Address) -> None: ...
@c_function
def ggml_nbytes(tensor: Address) -> Size: ...
@c_function
def ggml_graph_n_nodes(graph: Address) -> I32: ...
@c_function
def ggml_graph_node(graph: Address, index: I32) -> Address: ...
@c_function
def ggml_op_desc(tensor: Address) -> Text: ...
@c_function
def ggml_build_forward_expand(graph: Address, tensor: Address) -> None: ...


# --- operations ---------------------------------------------------------------------------------
@c_function
def ggml_add(ctx: Address, a: Address, b: Address) -> Address: ...
@c_function
def ggml_mul(ctx: Address, a: Address, b: Address) -> Address: ...
@c_function
def ggml_mul_mat(ctx: Address, a: Address, b: Address) -> Address: ...
@c_function
def ggml_prec_set_acc(tensor: Address, precision: I32) -> Flag: ...
@c_function
def ggml_norm(ctx: Address, a: Address, eps: F32) -> Address: ...
@c_function
def ggml_rms_norm(ctx: Address, a: Address, eps: F32) -> Address: ...
@c_function
def ggml_gelu_erf(ctx: Address, a: Address) -> Address: ...
@c_function
def ggml_swiglu_split(ctx: Address, a: Address, b: Address) -> Address: ...
@c_function
def ggml_scale(ctx: Address, a: Address, s: F32) -> Address: ...
@c_function
def ggml_pad(ctx: Address, a: Address, p0: I32, p1: I32, p2: I32, p3: I32) -> Address: ...
@c_function
def ggml_cast(ctx: Address, a: Address, type: I32) -> Address: ...
@c_function
def ggml_cont(ctx: Address, a: Address) -> Address: ...
@c_function
def ggml_cpy(ctx: Address, a: Address, b: Address) -> Address: ...
@c_function
def ggml_permute(ctx: Address, a: Address, a0: I32, a1: I32, a2: I32, a3: I32) -> Address: ...
@c_function
def ggml_reshape_4d(
    ctx: Address, a: Address, ne0: I64, ne1: I64, ne2: I64, ne3: I64
) -> Address: ...
@c_function
def ggml_view_3d(
    ctx: Address, a: Address, ne0: I64, ne1: I64, ne2: I64, nb1: Size, nb2: Size, offset: Size
) -> Address: ...
@c_function
def ggml_soft_max_ext(
    ctx: Address, a: Address, mask: Address, scale: F32, max_bias: F32
) -> Address: ...
@c_function
def ggml_flash_attn_ext(
    ctx: Address,
    q: Address,
    k: Address,
    v: Address,
    mask: Address,
    scale: F32,
    max_bias: F32,
    softcap: F32,
) -> Address: ...


# --- backends -----------------------------------------------------------------------------------
@c_function
def ggml_set_abort_callback(callback: Address) -> Address: ...
@c_function
def ggml_version() -> Text: ...
@c_function
def ggml_backend_load(path: Text) -> Address: ...
@c_function
def ggml_backend_load_all_from_path(folder: Text) -> None: ...
@c_function
def ggml_backend_register(registry: Address) -> None: ...
@c_function
def ggml_backend_reg_by_name(name: Text) -> Address: ...
@c_function
def ggml_backend_reg_get_proc_address(registry: Address, name: Text) -> Address: ...
@c_function
def ggml_backend_dev_backend_reg(device: Address) -> Address: ...
@c_function
def ggml_backend_dev_count() -> Size: ...
@c_function
def ggml_backend_dev_get(index: Size) -> Address: ...
@c_function
def ggml_backend_dev_name(device: Address) -> Text: ...
@c_function
def ggml_backend_dev_description(device: Address) -> Text: ...
@c_function
def ggml_backend_dev_type(device: Address) -> I32: ...
@c_function
def ggml_backend_dev_memory(device: Address, free: Address, total: Address) -> None: ...
@c_function
def ggml_backend_dev_init(device: Address, params: Address) -> Address: ...
@c_function
def ggml_backend_dev_buffer_type(device: Address) -> Address: ...
@c_function
def ggml_backend_dev_supports_op(device: Address, op: Address) -> Flag: ...
@c_function
def ggml_backend_dev_supports_buft(device: Address, buffer_type: Address) -> Flag: ...
@c_function
def ggml_backend_buffer_get_type(buffer: Address) -> Address: ...
@c_function
def ggml_backend_buffer_is_host(buffer: Address) -> Flag: ...
@c_function
def ggml_backend_free(backend: Address) -> None: ...
@c_function
def ggml_backend_graph_compute(backend: Address, graph: Address) -> I32: ...
@c_function
def ggml_backend_alloc_ctx_tensors(ctx: Address, backend: Address) -> Address: ...
@c_function
def ggml_backend_cpu_buffer_from_ptr(data: Address, size: Size) -> Address: ...
@c_function
def ggml_backend_alloc_ctx_tensors_from_buft(ctx: Address, buffer_type: Address) -> Address: ...
@c_function
def ggml_backend_buft_alloc_buffer(buffer_type: Address, size: Size) -> Address: ...
@c_function
def ggml_backend_buft_name(buffer_type: Address) -> Text: ...
@c_function
def ggml_backend_tensor_alloc(buffer: Address, tensor: Address, data: Address) -> I32: ...
@c_function
def ggml_backend_tensor_set(tensor: Address, data: Address, offset: Size, size: Size) -> None: ...
@c_function
def ggml_backend_tensor_get(tensor: Address, data: Address, offset: Size, size: Size) -> None: ...
@c_function
def ggml_backend_tensor_copy(source: Address, target: Address) -> None: ...
@c_function
def ggml_backend_buffer_free(buffer: Address) -> None: ...
@c_function
def ggml_backend_buffer_clear(buffer: Address, value: U8) -> None: ...
@c_function
def ggml_backend_buffer_get_size(buffer: Address) -> Size: ...
@c_function
def ggml_gallocr_new(buffer_type: Address) -> Address: ...
@c_function
def ggml_gallocr_free(allocator: Address) -> None: ...
@c_function
def ggml_gallocr_alloc_graph(allocator: Address, graph: Address) -> Flag: ...
@c_function
def ggml_gallocr_get_buffer_size(allocator: Address, index: I32) -> Size: ...


# --- quantising ---------------------------------------------------------------------------------
@c_function
def ggml_quantize_chunk(
    type: I32,
    source: Address,
    target: Address,
    start: I64,
    n_rows: I64,
    n_per_row: I64,
    imatrix: Address,
) -> Size: ...


@c_function
def ggml_get_type_traits(type: I32) -> Address: ...


@functools.cache
def check_layout() -> None:
    """Asserts that `TensorStruct` is what this ggml uses, on a tensor with known contents."""
    ctx = ggml_init(InitParams(ggml_tensor_overhead() * 2, None, True))
    try:
        address = ggml_new_tensor_4d(ctx, 1, 3, 5, 7, 11)
        ggml_set_name(address, b"layout")
        struct = TensorStruct.from_address(address)
        seen = (struct.type, tuple(struct.ne), tuple(struct.nb), struct.name, struct.data)
    finally:
        ggml_free(ctx)
    if seen != (1, (3, 5, 7, 11), (2, 6, 30, 210), b"layout", None):
        raise BackendError(
            Phrase("this ggml lays out its tensors in a way we do not know: {seen}", seen=seen),
            hint="Install llama-cpp-python>=0.3.36,<0.4, the range this version was tested with.",
        )
