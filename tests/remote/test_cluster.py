"""`eval --ray`: the same report as in one process, also when a node is lost in the middle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge.cli.main import main
from tests.remote.test_remote import questions

ray = pytest.importorskip("ray", reason="llavao1-edge[ray] is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")

N = 24
# What Ray itself leaves open, or warns of.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The report of one process."""
    folder = tmp_path_factory.mktemp("one")
    assert main([*asking(folder), str(folder / "out")]) == 0
    return (folder / "out" / "report.md").read_bytes()


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are processes of their own: they find the product where this one has it."""
    root = Path(__file__).parent.parent.parent
    paths = [str(root), str(root / "convert"), str(root / "gui"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def asking(folder: Path) -> list[str]:
    file = questions(folder / "q.jsonl", N)
    settings = ["--gpu-layers", "0", "--threads", "1", "--no-pages", "--strategy", "stage-beam"]
    return ["eval", str(file), *settings, "--candidates", "2", "--out"]


def test_a_cluster_on_this_machine(tmp_path: Path, wanted: bytes) -> None:
    asked = [*asking(tmp_path), str(tmp_path / "out"), "--ray", "local"]
    assert main(asked) == 0
    assert (tmp_path / "out" / "report.md").read_bytes() == wanted
    rows = (tmp_path / "out" / "rows.jsonl").read_text().splitlines(keepends=True)
    assert len(rows) == N
    (tmp_path / "out" / "rows.jsonl").write_text("".join(rows[: N // 2]))
    assert main(asked) == 0  # the other half only
    again = (tmp_path / "out" / "rows.jsonl").read_text().splitlines(keepends=True)
    assert again[: N // 2] == rows[: N // 2]
    assert len(again) == N
    assert (tmp_path / "out" / "report.md").read_bytes() == wanted


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A head that computes nothing, and two nodes. Logical CPUs: a stage of Ray's needs one."""
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    cluster.wait_for_nodes()
    try:
        yield cluster, nodes
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_node_that_is_lost(two_nodes: Any, tmp_path: Path, wanted: bytes) -> None:
    cluster, nodes = two_nodes
    rows = tmp_path / "out" / "rows.jsonl"

    def lose() -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until and not (rows.exists() and rows.stat().st_size):
            time.sleep(0.1)
        cluster.remove_node(nodes[0], allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        assert main([*asking(tmp_path), str(tmp_path / "out"), "--ray", cluster.address]) == 0
    finally:
        thread.join()
    assert (tmp_path / "out" / "report.md").read_bytes() == wanted
    assert len(rows.read_text().splitlines()) == N


def test_no_cluster_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*asking(tmp_path), str(tmp_path / "out"), "--ray", "nonsense"]
    assert main(asked) == 2
    assert "no Ray cluster at 'nonsense'" in capsys.readouterr().err
