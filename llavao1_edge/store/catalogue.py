"""The models of this machine: files named by their digest, and an entry per model.

    ROOT/models/NAME.json          an entry: two digests, where they came from
    ROOT/blobs/sha256-HEX.gguf     the files; two entries may share one
    ROOT/staging/                  downloads and conversions under way, kept for the next try

Every file appears whole under its name or not at all, whatever happens to the process.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llavao1_edge.contract.pair import identity, read_pair
from llavao1_edge.errors import Cancelled, LlavaError, ModelFileError, UsageError
from llavao1_edge.files import expanded, write_whole
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.blobs import ENVIRONMENT, Blobs, StoreError
from llavao1_edge.store.digest import Report, Stop, file_sha256

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"[0-9a-f]{64}")
RESERVED = ("demo",)


@dataclass(frozen=True)
class StoredFile:
    """A file of a pair: its digest, its size, and the name it came with."""

    sha256: str
    n_bytes: int
    file: str


@dataclass(frozen=True)
class Entry:
    """A model. source: where it came from; revision: which version; added: seconds since 1970."""

    name: str
    text: StoredFile
    mmproj: StoredFile
    pair_id: str
    source: str
    revision: str | None
    added: float

    @property
    def n_bytes(self) -> int:
        return self.text.n_bytes + self.mmproj.n_bytes


def default_root() -> Path:
    """`LLAVAO1_MODELS`, or the user's data folder of this system."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        return expanded(given)
    import platformdirs

    return Path(platformdirs.user_data_dir("llavao1-edge", appauthor=False)) / "models"


class Store:
    """One root folder. Safe to use from several processes at once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self.blobs = Blobs(self.root / "blobs")

    # --- looking --------------------------------------------------------------------------------
    def entries(self) -> list[Entry]:
        """All models by name; what cannot be read is left out (`problems` lists it)."""
        return [entry for entry, _ in self._scan() if entry is not None]

    def problems(self) -> list[str]:
        """What is wrong with entries that were left out."""
        return [problem for entry, problem in self._scan() if entry is None]

    def _scan(self) -> Iterator[tuple[Entry | None, str]]:
        for path in sorted((self.root / "models").glob("*.json")):
            try:
                yield _parse(path), ""
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                yield None, f"{path} cannot be read ({type(error).__name__}: {error})"

    def find(self, name: str) -> Entry:
        """By name, in any case, or by a part that only one name has. Raises UsageError."""
        entries = self.entries()
        for entry in entries:
            if entry.name == name:
                return entry
        lower = name.lower()
        for match in (str.startswith, str.__contains__):
            found = [entry for entry in entries if lower and match(entry.name.lower(), lower)]
            if len(found) == 1:
                return found[0]
            if found:
                names = ", ".join(entry.name for entry in found)
                raise UsageError(
                    Phrase("{name} could be {names}", name=repr(name), names=names),
                    hint="Give more of the name.",
                )
        raise UsageError(
            Phrase("there is no model {name}", name=repr(name)),
            hint=self._suggestion(name, entries),
        )

    def _suggestion(self, name: str, entries: list[Entry]) -> str:
        names = [*RESERVED, *(entry.name for entry in entries)]
        lowered = {known.lower(): known for known in names}
        close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
        if close:
            return Phrase("Did you mean {name}?", name=lowered[close[0]])
        return Phrase(
            "There are: {names}. `llavao1-edge models pull` fetches others.", names=", ".join(names)
        )

    def files(self, entry: Entry) -> tuple[Path, Path]:
        """The text and the mmproj file. Raises ModelFileError where one is missing or cut off."""
        paths = self.blobs.path(entry.text.sha256), self.blobs.path(entry.mmproj.sha256)
        for path, stored in zip(paths, (entry.text, entry.mmproj), strict=True):
            n_bytes = path.stat().st_size if path.is_file() else 0
            if n_bytes != stored.n_bytes:
                raise ModelFileError(
                    Phrase(
                        "{name}: {path} has {n_bytes} of {wanted} bytes",
                        name=entry.name,
                        path=path,
                        n_bytes=n_bytes,
                        wanted=stored.n_bytes,
                    ),
                    hint=Phrase(
                        "`llavao1-edge models remove {name}`, then pull it again.", name=entry.name
                    ),
                )
        return paths

    # --- changing -------------------------------------------------------------------------------
    def add(
        self,
        text: Path,
        mmproj: Path,
        *,
        source: str,
        name: str | None = None,
        revision: str | None = None,
        movable: Collection[Path] = (),
        stop: Stop | None = None,
        report: Report | None = None,
    ) -> Entry:
        """Takes a pair in, under the name of its text file if no other is given.

        movable: files that leave their place, unless they are links. Adding the same pair again
        changes nothing. Raises ModelFileError, PairError, UsageError, StoreError, Cancelled.
        """
        pair_id = identity(*read_pair(text, mmproj))  # keeps no file open
        chosen = check_name(name or text.stem)
        moved = {path for path in movable if not (path.is_symlink() or self.blobs.hold(path))}
        self._check_other(chosen, pair_id)
        with _clear_errors(self.root), self._swept_on_error():
            self.blobs.sweep_copies()  # before it is asked whether there is room
            while True:
                stored = [self._store(path, path in moved, stop, report) for path in (text, mmproj)]
                entry = Entry(
                    name=chosen,
                    text=stored[0],
                    mmproj=stored[1],
                    pair_id=pair_id,
                    source=source,
                    revision=revision,
                    added=time.time(),
                )
                with self.locked("store"):
                    self.check_free(chosen, entry)
                    # Another process may have removed a file that was there a moment ago.
                    if all(self.blobs.path(one.sha256).is_file() for one in stored):
                        target = self.root / "models" / f"{chosen}.json"
                        target.parent.mkdir(parents=True, exist_ok=True)
                        write_whole(target, json.dumps(asdict(entry), indent=1))
                        break
            for path in moved:
                path.unlink(missing_ok=True)
        return entry

    @contextmanager
    def _swept_on_error(self) -> Iterator[None]:
        """Gigabytes that were taken in for nothing do not stay."""
        try:
            yield
        except BaseException:
            if any(self.blobs):
                with suppress(OSError, LlavaError), self.locked("store"):
                    self._sweep()
            raise

    def check_free(self, name: str, entry: Entry | None = None) -> None:
        """Raises UsageError where another model has this name (in any case: some disks do not
        tell cases apart)."""
        wanted = None if entry is None else (entry.text.sha256, entry.mmproj.sha256)
        for other in self._named(name):
            if other.name != name or (other.text.sha256, other.mmproj.sha256) != wanted:
                raise _taken(other)

    def _check_other(self, name: str, pair_id: str) -> None:
        """The same, before anything is copied: what differs for certain."""
        for other in self._named(name):
            if other.name != name or other.pair_id != pair_id:
                raise _taken(other)

    def _named(self, name: str) -> list[Entry]:
        return [other for other in self.entries() if other.name.lower() == name.lower()]

    def _store(
        self, path: Path, move: bool, stop: Stop | None, report: Report | None
    ) -> StoredFile:
        found = self.blobs.link(path, stop) if move else None
        return StoredFile(*(found or self.blobs.copy(path, stop, report)), path.name)

    def remove(self, name: str) -> tuple[Entry, int]:
        """Removes a model by its full name, and all files that no other one needs.

        Returns the bytes that were freed. Raises UsageError.
        """
        entry = self.find(name)
        if entry.name != name:
            raise UsageError(
                Phrase("there is no model {name}", name=repr(name)),
                hint=Phrase("Did you mean {name}?", name=entry.name),
            )
        with _clear_errors(self.root), self.locked("store"):
            (self.root / "models" / f"{entry.name}.json").unlink(missing_ok=True)
            return entry, self._sweep()

    def _sweep(self) -> int:
        """Removes blobs that no model needs; how many bytes. Under the lock `store`. Another
        process that has just taken one in sees that it is gone, and takes it again."""
        needed = set[str]()
        for path in (self.root / "models").glob("*.json"):  # also what cannot be read
            needed |= set(DIGEST.findall(path.read_text(encoding="utf-8", errors="replace")))
        return self.blobs.sweep(needed)

    def check(self, entry: Entry) -> None:
        """Compares the files with their digests. Raises ModelFileError."""
        for path in self.files(entry):
            if file_sha256(path) != self.blobs.digest(path):
                raise ModelFileError(
                    Phrase("{path} is damaged: its sha256 is not its name", path=path),
                    hint=Phrase("Remove {name} and pull it again.", name=entry.name),
                )

    # --- under way ------------------------------------------------------------------------------
    def staging(self, key: str) -> Path:
        """A folder for a download or a conversion; the same key gives the same folder."""
        folder = self.root / "staging" / hashlib.sha256(key.encode()).hexdigest()[:24]
        with _clear_errors(self.root):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def locked(self, what: str, *, stop: Stop | None = None) -> Iterator[None]:
        """One process at a time; waits for the others. Raises Cancelled, StoreError."""
        with _clear_errors(self.root):
            folder = self.root / "locks"
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.lock")
            while True:
                try:
                    lock.acquire(timeout=0.2)
                    break
                except Timeout:
                    if stop is not None and stop():
                        raise Cancelled("stopped while waiting for another process") from None
        try:
            yield
        finally:
            lock.release()


def _taken(other: Entry) -> UsageError:
    return UsageError(
        Phrase("there is another model named {name} already", name=other.name),
        hint=Phrase(
            "Give --name, or remove it: llavao1-edge models remove {name}", name=other.name
        ),
    )


def check_name(name: str) -> str:
    """Raises UsageError for a name that cannot be a file's, or is taken by the program."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            Phrase("{name} cannot be the name of a model", name=repr(name)),
            hint="Letters, digits, dots, dashes and underlines, beginning with a letter or digit.",
        )
    return name


def _parse(path: Path) -> Entry:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    files = []
    for part in ("text", "mmproj"):
        stored = StoredFile(**values.pop(part))
        if not DIGEST.fullmatch(stored.sha256) or type(stored.n_bytes) is not int:
            raise ValueError("a digest or a size is damaged")
        files.append(stored)
    entry = Entry(text=files[0], mmproj=files[1], **values)
    if entry.name != path.stem:
        raise ValueError(f"it says that its name is {entry.name!r}")
    return entry


@contextmanager
def _clear_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            Phrase(
                "cannot use the model store {root}: {reason}",
                root=root,
                reason=error.strerror or error,
            ),
            hint=Phrase(
                "Check it, or set {environment} to another folder.", environment=ENVIRONMENT
            ),
        ) from error
