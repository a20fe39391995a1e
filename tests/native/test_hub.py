"""From the hub, over real HTTP on the loopback: conversion shard by shard, pulling, bad days."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion
from llavao1_convert.sources import Request, plan_source
from llavao1_edge.cli.main import main
from llavao1_edge.errors import Cancelled, DownloadError, UsageError
from llavao1_edge.store import hub as hub_module
from llavao1_edge.store.catalogue import Store
from llavao1_edge.store.pull import RemotePair, choose_pair, pull_pair, ready_pairs
from tests import native_models
from tests.configurations import CONFIGURATIONS
from tests.hub import COMMIT, BadDay, Hub
from tests.patience import PATIENCE_S
from tests.tiny import save, save_safetensors, weights

BASE = CONFIGURATIONS["base"]
Files = dict[str, bytes]


# The command line as a process. Started in the background, a shell lets its children ignore Ctrl-C:
# that is undone.
PROGRAM = [
    sys.executable,
    "-c",
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from llavao1_edge.cli.main import main; sys.exit(main(sys.argv[1:]))",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In three shards."""
    folder = save(BASE, tmp_path_factory.mktemp("hub") / "tiny")
    (folder / "model.safetensors").unlink()
    tensors, index = list(weights(BASE).items()), {}
    for number in range(3):
        name = f"model-{number + 1:05}-of-00003.safetensors"
        part = dict(tensors[number::3])
        save_safetensors(part, folder / name)
        index |= dict.fromkeys(part, name)
    text = json.dumps({"weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pair(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    plan = plan_conversion(
        checkpoint, tmp_path_factory.mktemp("pair"), name="Tiny", text_quantisation="Q8_0"
    )
    for _ in run(plan):
        pass
    return plan.text.path, plan.mmproj.path


def contents(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def hub(
    checkpoint: Path, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    ready = {path.name: path.read_bytes() for path in pair}
    repositories = {
        "Someone/Tiny": contents(checkpoint) | {"README.md": b"x", "old.bin": b"y"},
        "Someone/Tiny-GGUF": ready | {"README.md": b"x"},
        "Someone/Nothing": {"README.md": b"x"},
    }
    with Hub(repositories) as made:
        for name, value in {
            "HF_ENDPOINT": made.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "LLAVAO1_MODELS": str(tmp_path / "store"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }.items():
            monkeypatch.setenv(name, value)
        from huggingface_hub import constants

        # Read from the environment once, when the library was imported.
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield made


def finish(request: Request) -> tuple[Path, Path]:
    plan = plan_source(request)
    for _ in run(plan):
        pass
    return plan.text.path, plan.mmproj.path


def digests(paths: tuple[Path, ...]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def local(checkpoint: Path, out: Path) -> tuple[Path, Path]:
    return finish(Request(str(checkpoint), out, quant="Q8_0", name="Tiny"))


# --- converting -----------------------------------------------------------------------------------
@pytest.mark.parametrize("low_disk", [False, True])
def test_the_hub_gives_the_same_bytes_as_a_folder(
    low_disk: bool, hub: Hub, checkpoint: Path, tmp_path: Path
) -> None:
    wanted = digests(local(checkpoint, tmp_path / "local"))
    request = Request("Someone/Tiny@v1", tmp_path / "out", quant="Q8_0", low_disk=low_disk)
    found = finish(request)
    assert digests(found) == wanted
    assert [path.name for path in found] == ["Tiny-Q8_0.gguf", "mmproj-Tiny-Q8_0.gguf"]
    assert not hub.bodies("old.bin")
    assert not list((tmp_path / "out").glob(".*"))
    assert COMMIT in (tmp_path / "out" / "Tiny-Q8_0.md").read_text(encoding="utf-8")
    cached = list((tmp_path / "cache").rglob("*.safetensors"))
    assert bool(cached) is not low_disk


def test_low_disk_holds_one_shard_at_a_time(hub: Hub, tmp_path: Path) -> None:
    plan = plan_source(Request("Someone/Tiny", tmp_path / "out", quant="Q8_0", low_disk=True))
    most = 0
    for _ in run(plan, n_threads=1):
        most = max(most, len(list((tmp_path / "out").rglob("*.safetensors"))))
    assert most == 1
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_a_dry_run_fetches_headers_only(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "Someone/Tiny", "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "Tiny-Q4_K_M.gguf" in capsys.readouterr().out
    n = sum(n for name, n in hub.sent.items() if name.endswith(".safetensors"))
    assert 0 < n < 40_000
    assert not list((tmp_path / "out").glob("*.gguf"))


@pytest.mark.parametrize("low_disk", [False, True])
def test_a_killed_conversion_goes_on_and_fetches_nothing_twice(
    low_disk: bool, hub: Hub, checkpoint: Path, tmp_path: Path
) -> None:
    wanted = digests(local(checkpoint, tmp_path / "local"))
    code = f"""
import os, signal
from pathlib import Path
from llavao1_convert import work
from llavao1_convert.conversion import run
from llavao1_convert.sources import Request, plan_source
work.SYNC_SECONDS = 0
request = Request("Someone/Tiny", Path({str(tmp_path / "out")!r}), quant="Q8_0",
                  low_disk={low_disk})
for step in run(plan_source(request), n_threads=1):
    if step.done > step.total * 0.6:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    first = "model-00001-of-00003.safetensors"
    before = hub.sent[first]
    found = finish(Request("Someone/Tiny", tmp_path / "out", quant="Q8_0", low_disk=low_disk))
    assert digests(found) == wanted
    assert hub.sent[first] - before < 20_000  # its header, not its tensors


@pytest.fixture
def large(hub: Hub) -> tuple[hub_module.Repository, bytes]:
    """A repository with a file of several of the library's blocks of 10 MB."""
    content = np.random.default_rng(0).bytes(34 << 20)
    hub.repositories["Someone/Large"] = {"large.gguf": content}
    return hub_module.open_repository("Someone/Large"), content


def test_a_broken_connection_is_resumed(
    hub: Hub, large: tuple[hub_module.Repository, bytes], tmp_path: Path
) -> None:
    repository, content = large
    hub.bad["large.gguf"] = BadDay(break_after=25 << 20, times=1)
    path = repository.fetch("large.gguf", tmp_path / "x")
    assert path.read_bytes() == content
    starts = [r for r in hub.bodies("large.gguf") if r and not r.startswith("bytes=0-")]
    assert starts, hub.bodies("large.gguf")
    assert hub.sent["large.gguf"] < 1.5 * len(content)


def test_a_killed_download_goes_on(
    hub: Hub, large: tuple[hub_module.Repository, bytes], tmp_path: Path
) -> None:
    repository, content = large
    hub.bad["large.gguf"] = BadDay(delay=0.002)
    stop = threading.Event()
    seen = []

    def report(done: int) -> None:
        seen.append(done)
        if done > 12 << 20:
            stop.set()

    with pytest.raises(Cancelled):
        repository.fetch("large.gguf", tmp_path / "x", report=report, stop=stop.is_set)
    assert seen == sorted(seen)
    hub.bad.clear()
    time.sleep(0.3)
    before = hub.sent["large.gguf"]
    path = repository.fetch("large.gguf", tmp_path / "x")
    assert path.read_bytes() == content
    assert hub.sent["large.gguf"] - before < 0.8 * len(content)


def test_a_damaged_shard_is_fetched_again(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    name = "model-00003-of-00003.safetensors"
    hub.bad[name] = BadDay(wrong=1)
    wanted = digests(local(checkpoint, tmp_path / "local"))
    assert digests(finish(Request("Someone/Tiny", tmp_path / "out", quant="Q8_0"))) == wanted


def test_a_shard_that_stays_damaged_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.bad["model-00003-of-00003.safetensors"] = BadDay(wrong=9)
    with pytest.raises(DownloadError, match="damaged twice"):
        finish(Request("Someone/Tiny", tmp_path / "out", quant="Q8_0"))
    assert not list((tmp_path / "out").glob("*.gguf"))


def test_offline_uses_the_cache(
    hub: Hub, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        plan_source(Request("Someone/Tiny", tmp_path / "out"))
    fill_cache(tmp_path / "hf" / "hub", checkpoint)
    found = finish(Request("Someone/Tiny", tmp_path / "out", quant="Q8_0", name="Tiny"))
    assert digests(found) == digests(local(checkpoint, tmp_path / "local"))
    assert not hub.requests


def fill_cache(root: Path, folder: Path, repo: str = "Tiny", *, linked: bool = True) -> None:
    """As other programs leave it: files in blobs, links in snapshots (or the files there)."""
    home = root / f"models--Someone--{repo}"
    for name in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (home / name).mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    for name, content in contents(folder).items():
        blob, snapshot = home / "blobs" / digest_of(content), home / "snapshots" / COMMIT / name
        (blob if linked else snapshot).write_bytes(content)
        if linked:
            snapshot.symlink_to(f"../../blobs/{blob.name}")


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_other_programs_have_fetched_is_used(
    hub: Hub, checkpoint: Path, tmp_path: Path
) -> None:
    fill_cache(tmp_path / "hf" / "hub", checkpoint)
    found = finish(Request("Someone/Tiny", tmp_path / "out", quant="Q8_0", low_disk=True))
    assert digests(found) == digests(local(checkpoint, tmp_path / "local"))
    assert sum(n for name, n in hub.sent.items() if name.endswith(".safetensors")) < 40_000
    kept = (tmp_path / "hf" / "hub").rglob("*.safetensors")
    assert len(list(kept)) == 3  # not ours to delete


@pytest.mark.parametrize(
    ("repo", "message"),
    [
        ("Someone/Missing", "no repository Someone/Missing"),
        ("Someone/Tiny@v9", "no such revision"),
        ("Someone/Nothing", "config.json is missing|holds no model"),
    ],
)
def test_what_the_hub_does_not_have(repo: str, message: str, hub: Hub, tmp_path: Path) -> None:
    from llavao1_edge.errors import LlavaError

    with pytest.raises(LlavaError, match=message):
        plan_source(Request(repo, tmp_path / "out"))


def test_a_gated_repository_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    hub.gated.add("Someone/Tiny")
    with pytest.raises(DownloadError, match="accepted its licence") as caught:
        plan_source(Request("Someone/Tiny", tmp_path / "out"))
    assert "HF_TOKEN" in caught.value.hint


@pytest.mark.parametrize("repo", ["../x", "a/b@../c", "a/b@x y", "a//b", "/a/b"])
def test_names_that_are_none(repo: str) -> None:
    with pytest.raises(UsageError):
        hub_module.parse_repo(repo)


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(DownloadError, match="connection to the hub failed"):
        plan_source(Request("Someone/Tiny", tmp_path / "out"))


# --- pulling --------------------------------------------------------------------------------------
def test_pull_a_ready_pair_and_ask_it(
    hub: Hub, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pull", "Someone/Tiny-GGUF"]) == 0
    assert capsys.readouterr().out == "Tiny-Q8_0\n"
    assert main(["models", "list"]) == 0
    assert "Someone/Tiny-GGUF" in capsys.readouterr().out
    store = Store()
    (entry,) = store.entries()
    assert entry.revision == COMMIT
    assert digests(store.files(entry)) == digests(pair)
    store.check(entry)
    assert not list((store.root / "staging").iterdir())
    command = ["ask", "none", "Hi?", "--strategy", "free", "--max-tokens", "4", "--context", "256"]
    main([*command, "--model", "tiny"])
    assert "no model" not in capsys.readouterr().err
    assert main(["models", "show", "Tiny-Q8_0", "--check"]) == 0
    shown = capsys.readouterr().out
    assert "text Q8_0, vision Q8_0" in shown
    assert "N=16" in shown


def test_pulling_twice_fetches_once(hub: Hub) -> None:
    assert main(["models", "pull", "Someone/Tiny-GGUF"]) == 0
    sent = dict(hub.sent)
    assert main(["models", "pull", "Someone/Tiny-GGUF"]) == 0
    assert hub.sent == sent


@pytest.mark.parametrize("linked", [True, False])
def test_a_pair_in_the_hubs_cache_is_taken_from_there_and_stays(
    linked: bool, hub: Hub, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """linked: as on Linux; where links need rights, as on Windows, files lie there themselves."""
    cache = tmp_path / "hf" / "hub"
    fill_cache(cache, pair[0].parent, repo="Tiny-GGUF", linked=linked)
    assert main(["models", "pull", "Someone/Tiny-GGUF"]) == 0
    assert not any(name.endswith(".gguf") and n > 40_000 for name, n in hub.sent.items())
    store = Store()
    (entry,) = store.entries()
    store.check(entry)
    assert not any(path.is_symlink() for path in store.files(entry))
    kept = [path.resolve() for path in (cache / "models--Someone--Tiny-GGUF").rglob("*.gguf")]
    assert len(kept) == 2
    assert sorted(digests(tuple(kept))) == sorted(digests(pair))


def test_pull_converts_a_checkpoint(
    hub: Hub, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pull", "Someone/Tiny", "--quant", "Q8_0"]) == 0
    assert capsys.readouterr().out == "Tiny-Q8_0\n"
    store = Store()
    (entry,) = store.entries()
    assert digests(store.files(entry)) == digests(local(checkpoint, tmp_path / "local"))
    assert not list((store.root / "staging").iterdir())


def test_another_quantisation_under_the_same_name_is_no_success(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["models", "pull", "Someone/Tiny", "--name", "mine", "--quant"]
    assert main([*command, "Q8_0"]) == 0
    assert main([*command, "Q8_0"]) == 0
    assert main([*command, "F16"]) == 2
    assert "another model named mine" in capsys.readouterr().err
    (entry,) = Store().entries()
    assert entry.text.file == "Tiny-Q8_0.gguf"


def test_two_processes_pull_at_once(hub: Hub, tmp_path: Path) -> None:
    hub.bad["Tiny-Q8_0.gguf"] = BadDay(delay=0.05)
    command = [*PROGRAM, "models", "pull", "Someone/Tiny-GGUF"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    done = [process.communicate(timeout=PATIENCE_S) for process in running]
    assert [process.returncode for process in running] == [0, 0], done
    assert [out for out, _ in done] == ["Tiny-Q8_0\n"] * 2
    assert len(Store().entries()) == 1
    size = len(hub.repositories["Someone/Tiny-GGUF"]["Tiny-Q8_0.gguf"])
    assert hub.sent["Tiny-Q8_0.gguf"] == size


def test_a_killed_pull_goes_on(hub: Hub) -> None:
    name = "Tiny-Q8_0.gguf"
    size = len(hub.repositories["Someone/Tiny-GGUF"][name])
    hub.bad[name] = BadDay(delay=0.2)
    command = [*PROGRAM, "models", "pull", "Someone/Tiny-GGUF"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while hub.sent.get(name, 0) < size // 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert errors == b"stopped; the same command resumes\n"
    assert Store().entries() == []
    hub.bad.clear()
    assert main(["models", "pull", "Someone/Tiny-GGUF"]) == 0
    (entry,) = Store().entries()
    Store().check(entry)


def test_a_pull_can_be_cancelled_from_another_thread(hub: Hub) -> None:
    hub.bad["Tiny-Q8_0.gguf"] = BadDay(delay=0.3)
    repository = hub_module.open_repository("Someone/Tiny-GGUF")
    (found,) = ready_pairs(repository)
    stop = threading.Event()
    seen: list[tuple[str, int, int]] = []

    def report(file: str, done: int, total: int) -> None:
        seen.append((file, done, total))
        if hub.sent.get("Tiny-Q8_0.gguf"):
            stop.set()

    with pytest.raises(Cancelled):
        pull_pair(Store(), repository, found, stop=stop.is_set, report=report)
    file, done, total = seen[-1]
    assert done < total, f"all of {file} came before the stop was heeded"
    assert Store().entries() == []


def test_a_server_in_trouble(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.bad["Tiny-Q8_0.gguf"] = BadDay(status=418)
    assert main(["models", "pull", "Someone/Tiny-GGUF"]) == 1
    assert "cannot fetch Tiny-Q8_0.gguf" in capsys.readouterr().err
    assert Store().entries() == []


def test_a_repository_that_is_not_ours(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", "Someone/Nothing"]) == 1
    assert "neither a pair" in capsys.readouterr().err
    files = hub.repositories["Someone/Tiny-GGUF"]
    files["Tiny-Q8_0.gguf"] = b"GGUF" + bytes(100)
    assert main(["models", "pull", "Someone/Tiny-GGUF"]) == 1
    assert Store().entries() == []


def test_which_pair_of_several(hub: Hub) -> None:
    files = hub.repositories["Someone/Tiny-GGUF"]
    text, mmproj = files["Tiny-Q8_0.gguf"], files["mmproj-Tiny-Q8_0.gguf"]
    files |= {"Tiny-F16.gguf": text, "mmproj-Tiny-F16.gguf": mmproj, "Other.gguf": text}
    repository = hub_module.open_repository("Someone/Tiny-GGUF")
    pairs = ready_pairs(repository)
    assert [(p.text, p.mmproj) for p in pairs] == [
        ("Tiny-F16.gguf", "mmproj-Tiny-F16.gguf"),
        ("Tiny-Q8_0.gguf", "mmproj-Tiny-Q8_0.gguf"),
    ]
    assert choose_pair(pairs, None, repo="x").text == "Tiny-Q8_0.gguf"
    assert choose_pair(pairs, "f16", repo="x").text == "Tiny-F16.gguf"
    with pytest.raises(UsageError, match="none of Q2"):
        choose_pair(pairs, "Q2", repo="x")


def test_a_pair_that_llama_cpp_runs_itself(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """As people publish them: several quantisations, one projector in several formats."""
    text, mmproj = (path.read_bytes() for path in native_models.pair("qwen2vl"))
    quants = ("Q4_K_M", "Q8_0", "F16")  # each with another last weight
    files = {f"Tiny-VL-2B-{quant}.gguf": text[:-1] + bytes([i]) for i, quant in enumerate(quants)}
    files |= {f"mmproj-{kind}.gguf": mmproj for kind in ("BF16", "F16", "F32")}
    hub.repositories["Someone/VL-GGUF"] = files
    assert main(["models", "pull", "Someone/VL-GGUF"]) == 0
    (entry,) = Store().entries()
    assert (entry.name, entry.text.file, entry.mmproj.file) == (
        "Tiny-VL-2B-Q4_K_M", "Tiny-VL-2B-Q4_K_M.gguf", "mmproj-F16.gguf",
    )  # fmt: skip
    assert main(["models", "pull", "Someone/VL-GGUF", "--quant", "q8_0"]) == 0
    assert [entry.name for entry in Store().entries()] == ["Tiny-VL-2B-Q4_K_M", "Tiny-VL-2B-Q8_0"]
    hub.repositories["Someone/VL-GGUF"] = {"Tiny-VL-2B-Q4_K_M.gguf": text}
    assert main(["models", "pull", "Someone/VL-GGUF"]) == 1
    assert "no mmproj file" in capsys.readouterr().err


def test_what_fits_is_pulled() -> None:
    pairs = [
        RemotePair(f"M-{quant}.gguf", "mmproj-F16.gguf") for quant in ("Q8_0", "Q4_K_M", "Q2_K")
    ]
    sizes = {"M-Q8_0.gguf": 800, "M-Q4_K_M.gguf": 450, "M-Q2_K.gguf": 250, "mmproj-F16.gguf": 50}

    def chosen(room: int | None, quant: str | None = None) -> str:
        return choose_pair(pairs, quant, repo="x", sizes=sizes, room=room).text

    assert chosen(None) == chosen(10_000) == "M-Q4_K_M.gguf"
    assert chosen(400) == "M-Q2_K.gguf"
    assert chosen(100) == "M-Q4_K_M.gguf"  # nothing fits: the memory plan says so, with numbers
    assert chosen(400, "Q8_0") == "M-Q8_0.gguf"


def test_file_names_that_lead_out_are_left_out(hub: Hub) -> None:
    hub.repositories["Someone/Nothing"] |= {"../x.gguf": b"1", "a/../../y": b"2", "ok.gguf": b"3"}
    repository = hub_module.open_repository("Someone/Nothing")
    assert set(repository.files) == {"README.md", "ok.gguf"}
