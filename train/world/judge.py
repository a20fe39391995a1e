"""What the judge learns from: pairs of the model's own candidates, labelled by the truth.

The learner's weights become a pair of files; the runtime draws four answers to a question at some
temperature (best of N, as users would), and what differs becomes comparisons exactly as a search
asks for them (`scoring.asks`): the first stage that differs, and whole answers. Which one is better
follows from the true text of the stages; where that does not say, there is no pair.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import combinations, islice
from pathlib import Path
from typing import Any

from llavao1_edge import BestOfN, Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.files import append_line, read_lines, write_whole
from llavao1_edge.images import open_picture
from llavao1_edge.scoring import asks
from llavao1_edge.search.answer import Node
from llavao1_edge.stages import STAGES, Stage
from train.data import Tokens, Writer
from train.questions import Task
from train.world.families import scene_at

CANDIDATES, TEMPERATURES = 4, (0.7, 1.0, 1.3)
CLEARLY = 0.02  # of the similarity to the truth: closer ones are no pair
EACH = 2  # comparisons of a stage, and of whole answers, that are kept of one question
CHUNK = 10  # questions of one job: what a stop costs for each worker
Answer = tuple[str, ...]
"""The texts of the stages, in their order."""


@dataclass(frozen=True)
class Pair:
    """One comparison. index: the picture's number in the pool; better: 0 or 1. The two answers end
    with the stage that is compared, or are whole."""

    index: int
    question: str
    answers: tuple[Answer, Answer]
    better: int

    def ask(self, *, swapped: bool) -> asks.Ask:
        """As a search asks the judge."""
        first, second = (self._stages(answer) for answer in self.answers)
        return asks.compare(self.question, *((second, first) if swapped else (first, second)))

    @staticmethod
    def _stages(answer: Answer) -> list[tuple[Stage, str]]:
        return list(zip(STAGES, answer, strict=False))


def pairs_of(task: Task, answers: Sequence[Answer], index: int) -> Iterator[Pair]:
    """Of every two answers that differ: the first stage that does, and the whole."""
    truth = tuple(task.stage(stage.name) for stage in STAGES)
    for one, other in combinations(dict.fromkeys(answers), 2):
        at = next(i for i, texts in enumerate(zip(one, other, strict=True)) if texts[0] != texts[1])
        better = _better_stage(truth, one, other, at)
        if better is not None:
            yield Pair(index, task.question, (one[: at + 1], other[: at + 1]), better)
        right = [answer[-1] == truth[-1] for answer in (one, other)]
        if at < len(truth) - 1 and right[0] != right[1]:
            yield Pair(index, task.question, (one, other), right.index(True))


def _better_stage(truth: Answer, one: Answer, other: Answer, at: int) -> int | None:
    """Summaries and captions: the one that is more like the truth. A later stage is only as good as
    what it goes on from: after a true caption the true one, if it is there."""
    if at < 2:
        near = [_likeness(answer[at], truth[at]) for answer in (one, other)]
        return None if abs(near[0] - near[1]) < CLEARLY else int(near[1] > near[0])
    if one[1:at] != truth[1:at] or truth[at] not in (one[at], other[at]):
        return None
    return int(other[at] == truth[at])


def _likeness(text: str, truth: str) -> float:
    return SequenceMatcher(None, text.split(), truth.split(), autojunk=False).ratio()


# --- drawing them ---------------------------------------------------------------------------------


Job = tuple[Path, int, list[tuple[int, Task]]]
"""The text file, the seed of the pictures, and questions with their pictures' numbers."""


def drawn(job: Job) -> list[Pair]:
    """The pairs of some questions."""
    model, seed, questions = job
    # Guessing ahead depends on what steps cost on a machine, and the order of candidates on it.
    settings = RuntimeSettings(gpu_layers=0, threads=1, context=4096, draft_max=0)
    found: list[Pair] = []
    with Engine.open(model, settings=settings) as engine:
        for index, task in questions:
            rng = random.Random(f"pairs-{seed}-{index}")
            sampling = SamplingSettings(
                temperature=rng.choice(TEMPERATURES), top_p=1.0, max_tokens=512
            )
            picture = open_picture(scene_at(seed, index).drawn.image)
            with closing(engine.session(picture)) as session:
                answer = session.ask(
                    task.question,
                    sampling=sampling,
                    search=BestOfN(candidates=CANDIDATES, scorer="logprob"),
                    seed=rng.randrange(2**31),
                )
            found += _some(list(pairs_of(task, _branches(answer.trace.nodes), index)), rng)
    return found


def _branches(nodes: Sequence[Node]) -> list[Answer]:
    """The whole answers of a best-of-N trace; those that were cut off are not compared."""
    by_key = {node.key: node for node in nodes}
    answers = []
    for node in nodes:
        texts: list[str] = []
        at: Node | None = node
        whole = True
        while at is not None:
            whole = whole and not at.candidate.truncated
            texts.insert(0, at.candidate.text)
            at = by_key.get(at.parent)
        if len(texts) == len(STAGES) and whole:
            answers.append(tuple(texts))
    return answers


def _some(pairs: list[Pair], rng: random.Random) -> list[Pair]:
    whole = [pair for pair in pairs if len(pair.answers[0]) == len(STAGES)]
    stages = [pair for pair in pairs if len(pair.answers[0]) < len(STAGES)]
    return [pair for part in (stages, whole) for pair in rng.sample(part, min(EACH, len(part)))]


def draw_pairs(
    model: Path,
    path: Path,
    *,
    seed: int,
    questions: Sequence[tuple[int, Task]],
    workers: int = 2,
    told: Callable[[], bool] = lambda: False,
) -> bool:
    """Writes the pairs of `questions` about pictures of the stream `seed` into `path` (JSON Lines,
    gzip); False where `told` ended it before: what was drawn by then is kept beside it, and the
    same call goes on from there."""
    jobs = [
        (model, seed, list(questions[start : start + CHUNK]))
        for start in range(0, len(questions), CHUNK)
    ]
    parts = path.with_suffix(".parts")  # a line for each job, in their order
    done = _drawn_before(parts)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker) as pool:
        left = iter(jobs[len(done) :])
        # No more than are drawn at once: what is queued could not be taken back.
        running = deque(pool.submit(drawn, job) for job in islice(left, workers))
        while running and not told():
            with suppress(TimeoutError):
                found = running[0].result(timeout=1)
                running.popleft()
                running.extend(pool.submit(drawn, job) for job in islice(left, 1))
                done.append([asdict(pair) for pair in found])
                append_line(parts, f"{json.dumps(done[-1])}\n".encode())
        if running:
            return False
    text = "".join(f"{json.dumps(pair)}\n" for part in done for pair in part)
    write_whole(path, gzip.compress(text.encode(), mtime=0))
    parts.unlink(missing_ok=True)
    return True


def _drawn_before(parts: Path) -> list[Any]:
    """What was written to its end; half a line that a killed process left is cut off."""
    lines = read_lines(parts)
    whole = [line for line in lines if line.is_whole]
    if len(whole) < len(lines):
        os.truncate(parts, sum(len(line.data) for line in whole))
    return [line.value for line in whole]


def _begin_worker() -> None:
    """A Ctrl-C reaches all processes of a terminal: the parent decides. Without it there is nobody
    to draw for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def read_pairs(path: Path) -> list[Pair]:
    pairs = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        fields = json.loads(line)
        fields["answers"] = tuple(tuple(answer) for answer in fields["answers"])
        pairs.append(Pair(**fields))
    return pairs


# --- learning from them ---------------------------------------------------------------------------


def written(writer: Writer, pair: Pair, *, swapped: bool) -> Tokens:
    """Question, opening and verdict; only the verdict is trained."""
    ask = pair.ask(swapped=swapped)
    ids = writer.prompt(ask.text, picture=1, first=True)
    verdict = asks.OPTIONS[pair.better ^ swapped]
    ids = ids + writer.plain(ask.opening + verdict)
    trained = [False] * (len(ids) - 1) + [True]
    return Tokens(ids, trained, ids.index(writer.special[writer.image_text]))
