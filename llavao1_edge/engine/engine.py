"""Opens a pair of files and hands out conversations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from llavao1_edge.engine.diagnosis import PromptLogits, compute_logits
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.session import Session
from llavao1_edge.errors import ContextFullError, UsageError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.prompt import user_turn
from llavao1_edge.settings import RuntimeSettings

PictureSource = Path | str | bytes | Picture


class Engine:
    """An open model. Use it as a context manager, or call `close`.

    with Engine.open("demo") as engine:
        print(engine.session("shapes.png").ask("How many red circles are there?").conclusion)
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._sessions: dict[Session, float] = {}
        self._closed = False

    @classmethod
    def open(
        cls,
        model: str | Path | None = None,
        *,
        text: str | Path | None = None,
        mmproj: str | Path | None = None,
        settings: RuntimeSettings | None = None,
    ) -> Engine:
        """`model`: "demo", or the path of a text file whose mmproj file lies beside it.

        Or give both files as `text` and `mmproj`. Raises ModelFileError, PairError, BackendError.
        """
        text_path, mmproj_path = resolve_pair(model, text=text, mmproj=mmproj)
        return cls(Runtime(text_path, mmproj_path, settings or RuntimeSettings()))

    def session(self, picture: PictureSource | None = None) -> Session:
        """A new conversation about a picture, or about none. Raises PictureError."""
        self.check_open()
        opened = (
            picture if isinstance(picture, Picture) or picture is None else open_picture(picture)
        )
        session = Session(self, opened)
        self._sessions[session] = 0.0
        return session

    def prompt_logits(
        self, picture: PictureSource | None, question: str | Sequence[int]
    ) -> PromptLogits:
        """Logits after every token of a prompt, to verify a conversion.

        question: text, which goes through the chat format, or token ids, which are taken as they
        are (with a picture they must hold the image token).
        """
        self.check_open()
        runtime = self.runtime
        with runtime.turns.take():
            if isinstance(question, str):
                turn = user_turn(
                    question,
                    first=True,
                    picture=picture is not None,
                    system_block=runtime.system_block,
                )
                tokens: Sequence[int] = runtime.encode(turn)
            else:
                tokens = question
            states = None
            if picture is not None:
                opened = picture if isinstance(picture, Picture) else open_picture(picture)
                states, _ = runtime.encode_picture(opened)
            self._evict(needed=len(tokens), keep=None)
            return compute_logits(runtime, tokens, states)

    def close(self) -> None:
        """Frees everything. Conversations cannot be used afterwards; an open stream ends."""
        self.runtime.turns.abandon()
        with self.runtime.turns.take():
            if not self._closed:
                self._closed = True
                for session in list(self._sessions):
                    session.close()
                self.runtime.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- for sessions -----------------------------------------------------------------------
    def check_open(self) -> None:
        if self._closed:
            raise UsageError("the model is closed", hint="Open it again with Engine.open.")

    def forget(self, session: Session) -> None:
        self._sessions.pop(session, None)

    def make_room(self, session: Session, n_new: int) -> None:
        """Evicts other conversations, the longest unused first, until `n_new` tokens fit.

        Raises ContextFullError where this conversation alone is too long.
        """
        self._sessions[session] = time.monotonic()
        needed = len(session.history) + n_new
        n_ctx = self.runtime.context.n_ctx
        if needed > n_ctx:
            raise ContextFullError(
                f"the conversation needs {needed} tokens, the context holds {n_ctx}",
                hint="Ask in a new conversation, or start with a larger --context.",
            )
        self._evict(needed=needed, keep=session)

    def _evict(self, *, needed: int, keep: Session | None) -> None:
        """Half of the room that is left is for the answer."""
        others = sorted(
            (other for other in self._sessions if other is not keep and other.n_cached),
            key=lambda other: self._sessions[other],
        )
        n_ctx = self.runtime.context.n_ctx
        used = sum(other.n_cached for other in others)
        for other in others:
            if used + needed <= n_ctx // 2:
                break
            used -= other.n_cached
            other.evict()


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
    """The only mmproj file of the folder that starts with the text file's base name."""
    base = path.stem.rsplit("-", 1)[0]
    found = sorted(path.parent.glob(f"mmproj-{base}*.gguf")) if path.parent.is_dir() else []
    if len(found) == 1 or (not path.exists() and found):
        return found[0]
    names = ", ".join(file.name for file in found) or "none"
    raise UsageError(
        f"no single mmproj file for {path} (found: {names})", hint="Give one with --mmproj FILE."
    )
