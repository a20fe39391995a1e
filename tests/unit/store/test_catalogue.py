"""The store: whole or not at all, names that people mistype, files that lose a part."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llavao1_edge.cli.main import main
from llavao1_edge.errors import Cancelled, LlavaError, ModelFileError, PairError, UsageError
from llavao1_edge.store.blobs import Blobs, StoreError
from llavao1_edge.store.catalogue import Store, default_root
from tests.patience import PATIENCE_S

Pairs = Callable[..., tuple[Path, Path]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LLAVAO1_MODELS", str(tmp_path / "store"))
    return Store()


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_import_list_show_and_remove(
    store: Store, pair_of: Pairs, capsys: pytest.CaptureFixture[str]
) -> None:
    text, mmproj = pair_of("base")
    assert main(["models", "import", str(text), "--mmproj", str(mmproj), "--name", "One"]) == 0
    assert capsys.readouterr().out == "One\n"
    (entry,) = store.entries()
    blobs = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (text, mmproj)]
    assert [entry.text.sha256, entry.mmproj.sha256] == blobs
    assert [path.read_bytes() for path in store.files(entry)] == [
        path.read_bytes() for path in (text, mmproj)
    ]
    assert main(["models", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["name"] == "One"
    assert main(["models", "show", "one", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["quantisation"] == "text F32, vision F32"
    assert {row["candidates"] for row in shown["memory"]} == {1, 4, 8, 16}
    assert main(["models", "remove", "One"]) == 0
    assert not [name for name in everything(store.root) if not name.endswith(".lock")]


def test_models_alone_lists(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert capsys.readouterr().out.startswith("demo")


def test_two_names_share_their_files(store: Store, pair_of: Pairs) -> None:
    text, mmproj = pair_of("base")
    store.add(text, mmproj, source="x", name="A")
    store.add(text, mmproj, source="x", name="B")
    assert len(list((store.root / "blobs").iterdir())) == 2
    assert store.remove("A")[1] == 0
    assert store.files(store.find("B"))
    assert store.remove("B")[1] == text.stat().st_size + mmproj.stat().st_size


def test_a_name_is_not_taken_over_silently(store: Store, pair_of: Pairs) -> None:
    store.add(*pair_of("base"), source="x", name="A")
    store.add(*pair_of("base"), source="x", name="A")  # the same again changes nothing
    with pytest.raises(UsageError, match="another model named A"):
        store.add(*pair_of("one-tile"), source="x", name="A")


@pytest.mark.parametrize("name", ["", "demo", "../x", "a/b", ".hidden", "a b", "x" * 200, "-x"])
def test_names_that_cannot_be(name: str, store: Store, pair_of: Pairs) -> None:
    text, mmproj = pair_of("base")
    if name:
        with pytest.raises(UsageError):
            store.add(text, mmproj, source="x", name=name)
    assert store.entries() == []


def test_parts_of_names(store: Store, pair_of: Pairs) -> None:
    pair = pair_of("base")
    for name in ("LLaVA-CoT-11B-Q4_K_M", "LLaVA-CoT-11B-Q8_0", "Other"):
        store.add(*pair, source="x", name=name)
    assert store.find("other").name == "Other"
    assert store.find("q8_0").name == "LLaVA-CoT-11B-Q8_0"
    assert store.find("LLaVA-CoT-11B-Q4_K_M").name == "LLaVA-CoT-11B-Q4_K_M"
    with pytest.raises(UsageError, match="could be LLaVA-CoT-11B-Q4_K_M, LLaVA-CoT-11B-Q8_0"):
        store.find("llava")
    with pytest.raises(UsageError) as caught:
        store.find("Otter")
    assert "Did you mean Other?" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        store.find("zzzz")
    assert "demo" in caught.value.hint
    with pytest.raises(UsageError, match="no model 'other'"):
        store.remove("other")  # removing wants the whole name


def test_model_names_work_where_files_do(
    store: Store, pair_of: Pairs, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add(*pair_of("base"), source="x", name="Tiny")
    assert main(["ask", "none", "Hi?", "--model", "Tinny"]) == 2
    assert "Did you mean Tiny?" in capsys.readouterr().err
    command = ["ask", "none", "Hi?", "--strategy", "free", "--max-tokens", "3", "--context", "256"]
    main([*command, "--model", "tiny", "-v"])
    said = capsys.readouterr().err
    assert "no model" not in said


def test_a_pair_that_is_none_is_not_taken(store: Store, pair_of: Pairs, tmp_path: Path) -> None:
    text, _ = pair_of("base")
    _, other = pair_of("one-tile")
    with pytest.raises(PairError):
        store.add(text, other, source="x", name="A")
    assert not store.root.exists()


def test_a_file_of_the_store_is_never_moved_out_of_it(store: Store, pair_of: Pairs) -> None:
    """Whatever it is called by: its own path, or one through a linked folder."""
    entry = store.add(*pair_of("base"), source="x", name="A")
    files = store.files(entry)
    again = store.add(*files, source="x", name="B", movable=files)
    assert store.files(again) == files
    linked = store.root.parent / "linked"
    linked.symlink_to(store.root / "blobs", target_is_directory=True)
    through = [linked / path.name for path in files]
    store.add(*through, source="x", name="C", movable=through)
    store.check(entry)


def test_a_folder_that_has_two_names(
    store: Store, pair_of: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which `resolve` does not see through: letters in another case, a folder mounted twice."""
    files = store.files(store.add(*pair_of("base"), source="x", name="A"))
    linked = store.root.parent / "linked"
    linked.symlink_to(store.root / "blobs", target_is_directory=True)
    through = [linked / path.name for path in files]
    monkeypatch.setattr(Path, "resolve", lambda path, **_: path)
    entry = store.add(*through, source="x", name="B", movable=through)
    store.check(entry)


def test_a_file_that_cannot_be_removed_now_keeps_no_other(
    store: Store, pair_of: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = store.files(store.add(*pair_of("base"), source="x", name="A"))
    orphan = store.root / "blobs" / f"sha256-{'0' * 64}.gguf"
    orphan.write_bytes(b"x")
    unlink = Path.unlink

    def used(path: Path, missing_ok: bool = False) -> None:
        if path == orphan:
            raise PermissionError(13, "in use")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", used)
        sizes = [path.stat().st_size for path in files]
        assert store.remove("A")[1] == sum(sizes)
    assert orphan.exists()
    store.add(*pair_of("base"), source="x", name="A")
    store.remove("A")
    assert not orphan.exists()


@pytest.mark.parametrize("then", ["remove", "add", "move", "fail"])
def test_a_copy_that_a_killed_process_left(
    store: Store, pair_of: Pairs, tmp_path: Path, then: str
) -> None:
    """Gigabytes under a name that nobody looks for; what another process copies now stays."""
    store.add(*pair_of("base"), source="x", name="A")
    left, growing = (store.blobs.folder / name for name in (".123-4.part", ".124-5.part"))
    for path in (left, growing):
        path.write_bytes(b"x" * 1000)
    os.utime(left, (0, 0))
    if then == "remove":
        size = sum(path.stat().st_size for path in store.blobs)
        assert store.remove("A")[1] == size + 1000
    elif then == "add":
        store.add(*pair_of("tile-84"), source="x", name="B")
    elif then == "move":
        text, mmproj = (Path(shutil.copy(path, tmp_path)) for path in pair_of("tile-84"))
        store.add(text, mmproj, source="x", name="B", movable=[text, mmproj])
    else:
        with pytest.raises(Cancelled):
            store.add(*pair_of("tile-84"), source="x", name="B", stop=lambda: True)
    assert not left.exists()
    assert growing.exists()


def test_a_name_that_is_taken_is_refused_before_anything_is_copied(
    store: Store, pair_of: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(*pair_of("base"), source="x", name="A")
    before = everything(store.root)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_store", None)
        with pytest.raises(UsageError, match="another model named A"):
            store.add(*pair_of("one-tile"), source="x", name="A")
    assert everything(store.root) == before


def test_what_was_copied_for_nothing_does_not_stay(store: Store, pair_of: Pairs) -> None:
    text, mmproj = pair_of("base")
    entry = store.add(*pair_of("one-tile"), source="x", name="A")
    stops = iter([False, True])  # asked for each file: they are small
    with pytest.raises(Cancelled):
        store.add(text, mmproj, source="x", name="B", stop=lambda: next(stops))
    assert {path.name for path in (store.root / "blobs").iterdir()} == {
        store.blobs.path(one.sha256).name for one in (entry.text, entry.mmproj)
    }


def test_stopping_leaves_nothing(store: Store, pair_of: Pairs) -> None:
    with pytest.raises(Cancelled):
        store.add(*pair_of("base"), source="x", name="A", stop=lambda: True)
    assert everything(store.root) == set()


def test_damage_is_named(store: Store, pair_of: Pairs) -> None:
    entry = store.add(*pair_of("base"), source="x", name="A")
    text, mmproj = store.files(entry)
    data = bytearray(text.read_bytes())
    data[-9] ^= 1
    text.write_bytes(data)
    with pytest.raises(ModelFileError, match="sha256"):
        store.check(entry)
    text.write_bytes(data[:-1])
    with pytest.raises(ModelFileError, match="of"):
        store.files(entry)
    # Taking the pair in again mends it.
    store.add(*pair_of("base"), source="x", name="A")
    store.check(store.find("A"))
    mmproj.unlink()
    with pytest.raises(ModelFileError, match="0 of"):
        store.files(entry)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"name": "B", "text": {"sha256": "../x"}}', "null"]
)
def test_a_damaged_entry_does_not_hide_the_others(
    content: str, store: Store, pair_of: Pairs, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add(*pair_of("base"), source="x", name="A")
    (store.root / "models" / "B.json").write_text(content, encoding="utf-8")
    assert [entry.name for entry in store.entries()] == ["A"]
    assert main(["models", "list"]) == 0
    assert "B.json" in capsys.readouterr().err


def test_files_of_an_entry_that_cannot_be_read_stay(store: Store, pair_of: Pairs) -> None:
    store.add(*pair_of("base"), source="x", name="A")
    store.add(*pair_of("base"), source="x", name="B")
    path = store.root / "models" / "B.json"
    newer = json.loads(path.read_text(encoding="utf-8")) | {"from_the_future": 1}
    path.write_text(json.dumps(newer), encoding="utf-8")
    assert store.remove("A")[1] == 0
    assert len(list((store.root / "blobs").iterdir())) == 2


def test_names_that_differ_in_case_only(store: Store, pair_of: Pairs) -> None:
    store.add(*pair_of("base"), source="x", name="Foo")
    with pytest.raises(UsageError, match="another model named Foo"):
        store.add(*pair_of("base"), source="x", name="foo")


def test_a_file_that_is_removed_meanwhile_is_copied_again(
    store: Store, pair_of: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Blobs.copy
    removed = []

    def racing(self: Blobs, path: Path, *rest: object) -> tuple[str, int]:
        found = copied(self, path, *rest)  # type: ignore[arg-type]
        if not removed and path.name.startswith("mmproj"):
            removed.append(next(iter(self)))
            removed[0].unlink()
        return found

    monkeypatch.setattr(Blobs, "copy", racing)
    entry = store.add(*pair_of("base"), source="x", name="A")
    assert removed
    store.check(entry)


def test_moving_keeps_no_copy(store: Store, pair_of: Pairs, tmp_path: Path) -> None:
    paths = []
    for path in pair_of("base"):
        paths.append(tmp_path / path.name)
        paths[-1].write_bytes(path.read_bytes())
    entry = store.add(*paths, source="x", name="A", movable=paths)
    assert not any(path.exists() for path in paths)
    store.check(entry)


def test_a_root_that_cannot_be_used(tmp_path: Path, pair_of: Pairs) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot use the model store"):
        Store(tmp_path / "file" / "store").add(*pair_of("base"), source="x", name="A")


def test_many_processes_take_in_the_same_pair(store: Store, pair_of: Pairs) -> None:
    text, mmproj = pair_of("base")
    command = [sys.executable, "-m", "llavao1_edge.cli.main", "models", "import", str(text)]
    command += ["--mmproj", str(mmproj), "--name", "A"]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(timeout=PATIENCE_S) for process in running] == [0] * 4
    store.check(store.find("A"))
    assert len([n for n in everything(store.root) if n.startswith("blobs")]) == 2


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVAO1_MODELS", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("LLAVAO1_MODELS")
    assert default_root().name == "models"
    assert issubclass(StoreError, LlavaError)
