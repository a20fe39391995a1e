"""Opens a model and hands out conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import finalize

from llavao1_edge.backend import Backend, ModelInfo
from llavao1_edge.contract.naming import is_mmproj, mmproj_for
from llavao1_edge.contract.pair import Kind, identity, kind_of, read_pair
from llavao1_edge.engine.diagnosis import PromptLogits
from llavao1_edge.engine.local import LocalBackend
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.session import Session
from llavao1_edge.engine.turns import Turns
from llavao1_edge.errors import ModelFileError, UsageError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.lifetime import Closing
from llavao1_edge.phrases import Phrase
from llavao1_edge.search import Strategy
from llavao1_edge.settings import MOST_PARALLEL, RuntimeSettings

PictureSource = Any
"""A Picture, or what `open_picture` takes: a path or `file://` URL, bytes, an open file, a PIL
image, an array (height, width, 3) of uint8."""


class Engine(Closing):
    """An open model. Use it as a context manager, or call `close`.

    with Engine.open("demo") as engine:
        print(engine.session("shapes.png").ask("How many red circles are there?").conclusion)
    """

    def __init__(self, backend: Backend, *, turns: Turns | None = None) -> None:
        self.backend = backend
        self.turns = turns or Turns()
        # Native things must go before the interpreter does, also where nobody called `close`.
        self._finalizer = finalize(self, backend.close)

    @classmethod
    def open(
        cls,
        model: str | Path | None = None,
        *,
        text: str | Path | None = None,
        mmproj: str | Path | None = None,
        settings: RuntimeSettings | None = None,
        search: Strategy | None = None,
        parallel: int = 1,
        stop: Callable[[], bool] = lambda: False,
    ) -> Engine:
        """`model`: "demo", or the path of a text file whose mmproj file lies beside it.

        Or give both files as `text` and `mmproj`. `search`: the context is made large enough for
        its candidates side by side, where the settings leave its size open (another search works
        too, in waves where room is short). `parallel`: answers that several threads may have
        written at once, in the same batches (what one of them does with an event of its stream
        holds up the others). `stop` is asked while loading. Raises ModelFileError,
        PairError, BackendError, Cancelled, UsageError.
        """
        if not 1 <= parallel <= MOST_PARALLEL:
            raise UsageError(
                Phrase("parallel is {parallel}", parallel=parallel),
                hint=Phrase(
                    "It must be between 1 and {most_parallel}.", most_parallel=MOST_PARALLEL
                ),
            )
        text_path, mmproj_path = resolve_pair(model, text=text, mmproj=mmproj)
        width = search.width if search is not None else 1
        chosen = settings or RuntimeSettings()
        runtime = Runtime(text_path, mmproj_path, chosen, width=width, parallel=parallel, stop=stop)
        return cls(LocalBackend(runtime), turns=runtime.turns)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        model: str | None = None,
        settings: RuntimeSettings | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Engine:
        """A model on a server that speaks OpenAI's protocol: llama.cpp's, vLLM, SGLang, or our own
        `serve`. The search stays here; pictures and questions leave this machine.

        model: its name there, None for the only one. A key is taken from LLAVAO1_SERVER_KEY. Of the
        settings, `stage_prompt` counts. Raises UsageError, BackendError, Cancelled.
        """
        from llavao1_edge import remote

        return cls(remote.connect(url, model=model, settings=settings, stop=stop))

    @property
    def about(self) -> ModelInfo:
        """What is open, and where. Raises UsageError after `close`."""
        self.check_open()
        return self.backend.about

    @property
    def local(self) -> LocalBackend:
        """The model on this machine. Raises UsageError where it runs elsewhere."""
        if not isinstance(self.backend, LocalBackend):
            raise UsageError("the model does not run here", hint="Open its files: Engine.open.")
        return self.backend

    @property
    def runtime(self) -> Runtime:
        """For tests, measurements and diagnoses."""
        return self.local.runtime

    def session(self, *pictures: PictureSource | None, resumable: bool = False) -> Session:
        """A new conversation about a picture, or about none; about several, where the model takes
        them (`about.max_pictures`). Raises PictureError, UsageError.

        resumable: its state is kept on disk (`RuntimeSettings.picture_cache`) after each answer, so
        that the first question after `Session.recall` of the same turns need not compute them.
        """
        self.check_open()
        opened = [_opened(picture) for picture in pictures if picture is not None]
        return Session(self, opened, resumable=resumable)

    def prompt_logits(
        self, picture: PictureSource | None, question: str | Sequence[int]
    ) -> PromptLogits:
        """Logits after every token of a prompt, to verify a conversion.

        question: text, which goes through the chat format, or token ids, which are taken as they
        are (with a picture they must hold the image token, if the model has one; else the picture
        stands before them). The logits are those of the tokens that are returned.
        """
        self.check_open()
        with self.turns.take():
            opened = None if picture is None else _opened(picture)
            return self.local.prompt_logits(opened, question)

    def close(self) -> None:
        """Frees everything. Conversations cannot be used afterwards; an open stream ends."""
        self.turns.abandon()
        if self.is_open:
            self.backend.interrupt()
        with self.turns.take_all():
            self._finalizer()

    @property
    def is_open(self) -> bool:
        return self._finalizer.alive

    def check_open(self) -> None:
        """Raises UsageError after `close`."""
        if not self.is_open:
            raise UsageError("the model is closed", hint="Open it again with Engine.open.")


def _opened(picture: PictureSource) -> Picture:
    return picture if isinstance(picture, Picture) else open_picture(picture)


def pair_identity(text: Path, mmproj: Path) -> str:
    """Names the model of two files, as `Engine.about` does. Raises ModelFileError, PairError."""
    return identity(*read_pair(text, mmproj))


def check_pictures(text: Path, mmproj: Path, n: int) -> None:
    """Before a pair is loaded: raises UsageError for more pictures than it takes."""
    if n > 1 and kind_of(*read_pair(text, mmproj)) is Kind.MLLAMA:
        raise UsageError(
            Phrase(
                "{n} pictures were given, and this model was trained on one for each question", n=n
            ),
            hint="Ask about each of them, or join them into one picture.",
        )


def resolve_pair(
    model: str | Path | None, *, text: str | Path | None, mmproj: str | Path | None
) -> tuple[Path, Path]:
    """The two files. Raises UsageError where the request is not clear."""
    if model is not None and text is not None:
        raise UsageError("both a model and a text file were given", hint="Give one of them.")
    chosen = text if text is not None else model
    if chosen is None or str(chosen) == "demo":
        from llavao1_edge import demo

        if mmproj is not None:
            raise UsageError(
                "the demo model brings its own mmproj file", hint="Leave --mmproj out."
            )
        return demo.text_path(), demo.mmproj_path()
    path = Path(chosen)
    return path, Path(mmproj) if mmproj is not None else _mmproj_beside(path)


def _mmproj_beside(path: Path) -> Path:
    """The mmproj file of the folder that the text file's name leads to."""
    if not path.is_file():
        raise ModelFileError(
            Phrase("cannot read model file {path}: no such file", path=path), hint="Check the path."
        )
    there = sorted(file.name for file in path.parent.glob("*.gguf") if is_mmproj(file.name))
    chosen = mmproj_for(path.name, there)
    if chosen is None:
        raise UsageError(
            Phrase(
                "no single mmproj file for {path} (found: {there})",
                path=path,
                there=", ".join(there) or "none",
            ),
            hint="Give one with --mmproj FILE. A text model alone cannot see.",
        )
    return path.parent / chosen
