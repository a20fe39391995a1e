"""Conversations with a model on a server. See `backend`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from threading import Event

from llavao1_edge.backend import Attempt, ModelInfo, Request, Stop
from llavao1_edge.images import Picture
from llavao1_edge.phrases import Phrase
from llavao1_edge.prompt import STAGE_PROMPT
from llavao1_edge.prompt.chat import checked_question
from llavao1_edge.remote.client import Client
from llavao1_edge.remote.context import Context
from llavao1_edge.remote.dialect import OURS
from llavao1_edge.remote.drafter import RemoteDrafter
from llavao1_edge.remote.probe import Server, probe
from llavao1_edge.remote.requests import Messages, picture_parts
from llavao1_edge.remote.whole import WholeDrafter, cannot_go_on
from llavao1_edge.search import Branch, Budget, Drafter, PictureReady
from llavao1_edge.search.answer import Counters
from llavao1_edge.settings import RuntimeSettings
from llavao1_edge.stages import GAP, STAGES

TRAINED = re.compile(r"llava[-_.]?(?:cot|o1)|[-_.]cot\b", re.IGNORECASE)
"""Names of models that know the four stages, and need not be asked for them in words."""


def connect(
    url: str,
    *,
    model: str | None = None,
    settings: RuntimeSettings | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RemoteBackend:
    """Finds out what the server can. model: None for the only one there. Of the settings,
    `stage_prompt` counts. Raises UsageError, BackendError, Cancelled."""
    client = Client(url)
    try:
        server = probe(client, model, stop)
    except BaseException:
        client.close()
        raise
    asked = (settings or RuntimeSettings()).stage_prompt
    knows = server.dialect is OURS or TRAINED.search(server.model) is not None
    before = "" if asked == "off" or (knows and asked != "on") else STAGE_PROMPT
    return RemoteBackend(client, server, before)


class RemoteBackend:
    """Owns the connections to one server. before: stands before the first question."""

    def __init__(self, client: Client, server: Server, before: str) -> None:
        self.client, self.server, self.before = client, server, before
        self.ending = Event()

    @property
    def about(self) -> ModelInfo:
        server = self.server
        return ModelInfo(
            identity=f"{self.client.url}#{server.model}",
            kind="remote",
            device=f"{self.client.name} ({server.dialect.name})",
            context=server.context,
            memory=server.missing,
            max_pictures=None,
        )

    def interrupt(self) -> None:
        """A server may be silent for minutes: nobody waits for it any more."""
        self.ending.set()

    def conversation(self) -> RemoteConversation:
        return RemoteConversation(self)

    def close(self) -> None:
        self.client.close()


class RemoteConversation:
    """Its messages; the server keeps what it has computed of them as it likes."""

    def __init__(self, backend: RemoteBackend) -> None:
        self.backend = backend
        self.pictures: tuple[Picture, ...] = ()
        self.resumable = False
        self.messages = Messages(backend.before)

    def close(self) -> None:
        pass

    @property
    def begun(self) -> bool:
        return bool(self.messages.turns)

    def recall(self, question: str, stages: Mapping[str, str]) -> None:
        said = GAP.join(
            f"{stage.opening} {stages[stage.name]} {stage.closing}"
            for stage in STAGES
            if stage.name in stages
        )
        self.messages.turns.append((checked_question(question), said))

    def attempt(self, request: Request, *, budget: Budget, stop: Stop) -> Attempt:
        checked_question(request.question)
        if request.weighs_stages and not self.backend.server.continues:
            raise cannot_go_on(self.backend.client.name)
        if len(self.messages.parts) != len(self.pictures):  # one may have come since
            self.messages.parts = picture_parts(self.pictures)
        return RemoteAttempt(self, request, budget, stop)


class RemoteAttempt:
    """See `backend.Attempt`."""

    def __init__(
        self, conversation: RemoteConversation, request: Request, budget: Budget, stop: Stop
    ) -> None:
        self.conversation, self.counters = conversation, Counters()
        backend = conversation.backend

        def ended() -> bool:
            return backend.ending.is_set() or stop()

        self._context = Context(
            backend.client,
            backend.server,
            conversation.messages,
            request,
            budget,
            ended,
            self.counters,
            list(backend.server.missing),
        )
        if request.form is not None and not (backend.server.grammar and request.form.grammar):
            self._context.remarks.append(
                Phrase(
                    "{server} cannot be held to {form}: the finished conclusion is checked",
                    server=backend.client.name,
                    form=request.form.name,
                )
            )
        self._drafter: RemoteDrafter | None = None

    @property
    def drafter(self) -> Drafter:
        assert self._drafter is not None
        return self._drafter

    @property
    def remarks(self) -> Sequence[str]:
        return self._context.remarks

    def see(self) -> PictureReady | None:
        """Sent with every request; the server reads it once, if it keeps what it has read."""
        pictures = self.conversation.pictures
        if not pictures:
            return None
        sizes = tuple((picture.width, picture.height) for picture in pictures)
        reused = self.conversation.begun
        self.counters.vision_passes = 0 if reused else len(pictures)
        return PictureReady(1, 1, *sizes[0], reused, 0.0, 0, sizes, len(pictures))

    def begin(self) -> Branch:
        kind = RemoteDrafter if self._context.server.continues else WholeDrafter
        self._drafter = kind(self._context)
        return self._drafter.root()

    def keep(self, branch: Branch) -> None:
        assert self._drafter is not None
        said = self._drafter.states[branch.key].text.strip()
        self.conversation.messages.turns.append((self._context.request.question, said))

    def close(self) -> None:
        """Nothing is held here; requests end with their drafts."""
