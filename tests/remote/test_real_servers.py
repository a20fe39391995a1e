"""Real servers: our own, and llama.cpp's where it is installed (LLAMA_SERVER, or in the PATH).

How llama.cpp's server is built from llama-cpp-python's source archive: benchmarks/servers.md.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from llavao1_edge import (
    BestOfN,
    BudgetSettings,
    Direct,
    Engine,
    RuntimeSettings,
    SamplingSettings,
    SentenceBeam,
    StageBeam,
    Staged,
    demo,
)
from llavao1_edge.cli.main import main
from llavao1_edge.search import Strategy
from tests.native_models import TRAINED, pair
from tests.patience import PATIENCE_S
from tests.remote.test_remote import questions
from tests.serve.running import PICTURE, Running, serving

GREEDY = SamplingSettings(temperature=0)
LLAMA_SERVER = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
PICTURE_TOKENS = 64


# --- our own -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(folder=tmp_path_factory.mktemp("ours")) as running:
        yield running


@pytest.mark.parametrize("search", [Staged(), Direct(), BestOfN(candidates=2)])
def test_our_own_server_answers_as_the_engine_here(ours: Running, search: Strategy) -> None:
    with Engine.connect(ours.address) as engine:
        served = engine.session(PICTURE).ask("How many shapes?", search=search, sampling=GREEDY)
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0)) as engine:
        here = engine.session(PICTURE).ask("How many shapes?", search=search, sampling=GREEDY)
    assert served.stages == here.stages
    assert served.conclusion == here.conclusion
    made = [node.candidate for node in served.trace.nodes if node.chosen]
    local = [node.candidate for node in here.trace.nodes if node.chosen]
    assert [one.n_tokens for one in made] == [one.n_tokens for one in local]
    for one, other in zip(made, local, strict=True):
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-4)


def test_a_conversation_with_our_own_server(ours: Running) -> None:
    with Engine.connect(ours.address) as engine:
        session = engine.session(PICTURE)
        session.ask("How many shapes?", sampling=GREEDY)
        second = session.ask("Is there a red circle?", sampling=GREEDY)
    assert second.conclusion
    assert second.trace.counters.cached_tokens == 0  # said again with its stages, not as it was


def test_eval_on_our_own_server_is_the_same_in_parallel(ours: Running, tmp_path: Path) -> None:
    file = questions(tmp_path / "q.jsonl", 12)
    asked = ["eval", str(file), "--server", ours.address, "--no-pages", "--out"]
    assert main([*asked, str(tmp_path / "one")]) == 0
    assert main([*asked, str(tmp_path / "many"), "--parallel", "4"]) == 0
    reports = [(tmp_path / name / "report.md").read_bytes() for name in ("one", "many")]
    assert reports[0] == reports[1]


# --- llama.cpp's ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def llama_server() -> Iterator[str]:
    if LLAMA_SERVER is None:
        pytest.skip("llama-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text, mmproj = pair(TRAINED)
    process = subprocess.Popen(
        [LLAMA_SERVER, "-m", str(text), "--mmproj", str(mmproj), "--port", str(port), "-np", "4",
         "-kvu", "-c", "4096", "--no-warmup", "-t", "1", "--image-max-tokens", str(PICTURE_TOKENS)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert process.poll() is None, "llama-server ended"
            assert time.monotonic() < until
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


SEARCHES = [
    *(Staged(), Direct(), StageBeam(candidates=4), StageBeam(candidates=2, scorer="judge")),
    *(BestOfN(candidates=3), SentenceBeam(candidates=2)),
]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda one: f"{one.name}-{one.width}")
def test_every_search_on_llama_cpp(llama_server: str, search: Strategy) -> None:
    with Engine.connect(llama_server) as engine:
        assert not engine.about.memory  # nothing is missing
        session = engine.session(PICTURE)
        answer = session.ask(demo.samples()[0].question, search=search, seed=3)
        assert answer.conclusion
        assert not answer.notes
        assert not answer.trace.remarks
        again = session.ask("How many shapes are there?", search=Direct(), sampling=GREEDY)
        assert again.conclusion
    if isinstance(search, StageBeam) and search.scorer != "judge":
        counters = answer.trace.counters
        assert counters.cached_tokens > 2 * counters.prefill_tokens


def test_the_same_log_probabilities_as_llama_cpp_in_this_process(llama_server: str) -> None:
    """Greedy, the same files, the same picture: same tokens, and their log-probabilities."""
    question = demo.samples()[0].question
    budget = BudgetSettings(stage_tokens=200)
    settings = RuntimeSettings(
        gpu_layers=0, threads=1, picture_tokens=PICTURE_TOKENS, stage_prompt="off"
    )
    with Engine.connect(llama_server, settings=settings) as engine:
        served = engine.session(PICTURE).ask(question, sampling=GREEDY, budget=budget)
    text, mmproj = pair(TRAINED)
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        here = engine.session(PICTURE).ask(question, sampling=GREEDY, budget=budget)
    assert served.stages == here.stages
    for one, other in zip(served.trace.nodes, here.trace.nodes, strict=True):
        assert one.candidate.mean_logprob == pytest.approx(other.candidate.mean_logprob, abs=0.05)


def test_a_stop_frees_the_slots(llama_server: str) -> None:
    with Engine.connect(llama_server) as engine:
        stream = engine.session(PICTURE).stream("How many?", search=StageBeam(candidates=4))
        for _ in range(6):
            next(stream)
        stream.close()
    until = time.monotonic() + PATIENCE_S
    while any(slot["is_processing"] for slot in _slots(llama_server)):
        assert time.monotonic() < until
        time.sleep(0.05)


def _slots(url: str) -> list[dict[str, bool]]:
    reply = httpx.get(f"{url}/slots", trust_env=False)
    return list(reply.json()) if reply.status_code == 200 else []
