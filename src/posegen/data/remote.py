"""Shards by URL: fetched once into a local folder, checked by their hashes, and read from there like any others.

What shards hold is `shards.py`'s. Any file system that fsspec knows will do; the index says which shards there are,
since over HTTP files cannot be listed.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock

from posegen.data.prepare.store import filesystem
from posegen.errors import OutputError, PosegenError
from posegen.media.files import AtomicFile, output_errors, write_whole

_PIECE = 4 << 20
_AT_ONCE, _ATTEMPTS = 4, 3


def local_shards(
    place: str | Path, split: str, cache: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Path:
    """The folder with the shards and the index of a split: `place` itself, or copies below `cache` if it is a URL.

    Shards that were fetched before and still are what the index says are not fetched again, so an interrupted run goes
    on; processes that ask at once wait for one of them. `progress` is told shards. Raises `PosegenError` where the URL
    cannot be reached, has no whole index, or holds a shard that is not what the index says; `OutputError` for a full
    disk.
    """
    url = str(place)
    if "://" not in url:
        return Path(place)
    url = url.rstrip("/")
    folder = cache / "shards" / hashlib.sha256(url.encode()).hexdigest()[:16]
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{split}.lock"):
        content = _fetch_index(f"{url}/{split}.json")
        shards = _entries(content, f"{url}/{split}.json")
        with ThreadPoolExecutor(_AT_ONCE) as threads, _without_waiting(threads):
            fetched = threads.map(lambda entry: _fetch(f"{url}/{entry['file']}", entry, folder), shards)
            for done, _ in enumerate(fetched, start=1):
                progress(done, len(shards))
        names = {entry["file"] for entry in shards}
        for path in folder.glob(f"{split}-*.tar"):
            if path.name not in names:  # of an earlier index
                path.unlink()
        write_whole(folder / f"{split}.json", content)
    return folder


@contextlib.contextmanager
def _without_waiting(threads: ThreadPoolExecutor) -> Any:
    """Where one shard fails, the others that wait are left."""
    try:
        yield
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        raise


def _fetch_index(url: str) -> bytes:
    system, path = filesystem(url)
    try:
        return bytes(system.cat_file(path))
    except FileNotFoundError:
        raise PosegenError(
            f"{url}: is not there; shards by URL need the index that `posegen prepare` and `posegen synth` write"
        ) from None
    except Exception as error:  # every file system has its own errors
        raise PosegenError(f"{url}: cannot be reached ({_line(error)})") from error


def _entries(content: bytes, url: str) -> list[dict[str, Any]]:
    try:
        index = json.loads(content)
        entries: list[dict[str, Any]] = [
            {"file": str(each["file"]), "bytes": int(each["bytes"]), "sha256": str(each["sha256"])}
            for each in index["shards"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise PosegenError(f"{url} is not an index of shards ({_line(error)})") from None
    if not index.get("complete", True) or not entries:
        raise PosegenError(f"{url}: the shards are not finished; let their command run to its end first")
    outside = [entry["file"] for entry in entries if Path(entry["file"]).name != entry["file"]]
    if outside:
        raise PosegenError(f"{url} is not an index of shards (it names {outside[0]!r})")
    return entries


def _fetch(url: str, entry: dict[str, Any], folder: Path) -> None:
    """One shard, unless it is here; the mark beside it says which content it has."""
    target, mark = folder / entry["file"], folder / f".{entry['file']}.sha256"
    with contextlib.suppress(OSError):
        if target.stat().st_size == entry["bytes"] and mark.read_text() == entry["sha256"]:
            return
    mark.unlink(missing_ok=True)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _copy(url, entry["sha256"], target)
            break
        except OutputError:
            raise
        except Exception as error:
            if attempt == _ATTEMPTS:
                raise PosegenError(f"{url}: cannot be fetched ({_line(error)})") from error
    write_whole(mark, entry["sha256"].encode())


def _copy(url: str, sha256: str, target: Path) -> None:
    system, path = filesystem(url)
    file, digest = AtomicFile(target), hashlib.sha256()
    try:
        with system.open(path, "rb") as stream, file.temporary.open("wb") as out:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                with output_errors(target):
                    out.write(piece)
        if digest.hexdigest() != sha256:
            raise PosegenError("its hash is not the index's")
        file.commit()
    finally:
        file.discard()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
