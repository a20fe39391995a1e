"""Every error this project raises on purpose.

LlavaError                  what a caller may catch; carries a hint and the exit code
├── UsageError              the request itself is wrong (exit code 2)
├── PictureError            the picture cannot be opened or used
├── ModelFileError          a model file is damaged, incomplete or not ours
│   └── PairError           two good files that do not belong together
├── CheckpointError         the converter cannot use the source checkpoint
├── DownloadError           something could not be fetched; what has come is kept
├── BackendError            llama.cpp or ggml refused or failed
│   ├── OutOfMemory         a buffer could not be had
│   ├── UnsupportedOperation   a device cannot compute a part of the model
│   ├── ServerError         a server that holds the model refused or failed
│   └── PluginError         a plug-in file does not fit this ggml, or cannot be loaded
├── ContextFullError        the conversation no longer fits the context
└── Cancelled               the caller asked to stop (exit code 130)
"""

from __future__ import annotations


class LlavaError(Exception):
    """Base of all designed errors.

    `message` names the offending value, `hint` says what to do about it; the command line
    prints both and leaves with `exit_code`.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(LlavaError):
    """The request is wrong: an option, an empty question, a second picture."""

    exit_code = 2


class PictureError(LlavaError):
    """The picture cannot be opened safely."""


class ModelFileError(LlavaError):
    """A GGUF file is damaged, incomplete or written for another contract.

    offset: the byte of the file at which the problem was seen, where there is one.
    """

    def __init__(self, message: str, *, hint: str = "", offset: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class PairError(ModelFileError):
    """Text and mmproj files that were not made from the same checkpoint."""


class CheckpointError(LlavaError):
    """The source checkpoint of a conversion cannot be used."""


class DownloadError(LlavaError):
    """A file could not be fetched. What has come so far is kept for the next try."""


class BackendError(LlavaError):
    """llama.cpp or ggml failed, or lacks something we need."""


class OutOfMemory(BackendError):  # noqa: N818 (a state, which callers answer to)
    """Memory for something could not be had; with less of it, it may work."""


class UnsupportedOperation(BackendError):  # noqa: N818 (a state, which callers answer to)
    """A device lacks an operation that the model needs; on the CPU it works."""


class ServerError(BackendError):
    """A server that holds the model refused or failed. status: of HTTP, 0 where there was none;
    parameter: of the request, where the server names the one that it does not take."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "Ask again; its log may say why.",
        status: int = 0,
        parameter: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status, self.parameter = status, parameter

    @property
    def is_about_the_request(self) -> bool:
        """Whether the same would happen again: the picture is too large, the context too short."""
        return self.status in (400, 413, 422)


class PluginError(BackendError):
    """A plug-in does not fit the ggml that is loaded here, or cannot be loaded."""


class ContextFullError(LlavaError):
    """The conversation does not fit the context any more."""


class Cancelled(LlavaError):  # noqa: N818 (an outcome, not a fault)
    """The caller asked to stop."""

    exit_code = 130
