"""Looks into one uploaded file, as a program of its own.

Arguments: the kind of file, and its path. Decoders meet files of strangers here. A file that ends this process ends
nothing else, and none is read by the server. Prints what was found, or the error, as JSON; loads no PyTorch.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from posegen.errors import PosegenError

CONDITION_FILES = ("manifest.json", "keypoints.npz", "person.npz", "skeleton.mkv", "hands.mkv")
"""Names that a ZIP of conditions may hold; others are ignored."""
MAX_UNPACKED = 8 << 30
"""Bytes of the files in it, together."""


def look(kind: str, path: Path) -> dict[str, Any]:
    """Return what is in a file. Raises `PosegenError` for one that is not of this kind or cannot be used."""
    if kind == "image":
        from posegen.media.image import read_image

        height, width, _ = read_image(path).shape
        return {"width": width, "height": height}
    if kind == "conditions":
        return {"files": sorted(condition_files(path))}
    if kind == "pose" and not _is_media(path):
        return {}
    from posegen.media.video import probe_video

    info = probe_video(path)
    seconds = round(float(info.num_frames / info.fps), 3)
    return {"width": info.width, "height": info.height, "fps": float(info.fps), "seconds": seconds}


def _is_media(path: Path) -> bool:
    """Return whether a file of poses is a skeleton video: neither JSON nor NPZ."""
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    return not head.startswith((b"{", b"[", b"PK\x03\x04"))


def condition_files(path: Path) -> list[str]:
    """Return the names of conditions in a ZIP. Raises `PosegenError` for anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [each for each in archive.infolist() if Path(each.filename).name in CONDITION_FILES]
            names = [Path(each.filename).name for each in entries]
            if sum(each.file_size for each in entries) > MAX_UNPACKED:
                raise PosegenError(f"{path}: its files are larger than {MAX_UNPACKED >> 30} GB")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise PosegenError(f"{path} is not a ZIP file: zip the folder that `posegen extract` made") from error
    missing = {"manifest.json", "keypoints.npz", "skeleton.mkv"} - set(names)
    if missing or len(set(names)) < len(names):
        problem = f"no {sorted(missing)[0]} is" if missing else "two folders of conditions are"
        raise PosegenError(f"{path}: {problem} in it: zip the folder that `posegen extract` made")
    return names


def unpack_conditions(path: Path, folder: Path) -> None:
    """Unpack a ZIP of conditions into a folder: files of known names only, whatever paths it names.

    Raises `PosegenError` for anything else, and for files that are larger than they claim.
    """
    condition_files(path)
    folder.mkdir(parents=True, exist_ok=True)
    left = MAX_UNPACKED
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = Path(entry.filename).name
                if name not in CONDITION_FILES:
                    continue
                with archive.open(entry) as packed, (folder / name).open("wb") as file:
                    while block := packed.read(1 << 20):
                        left -= len(block)
                        if left < 0:
                            raise PosegenError(f"{path}: its files are larger than {MAX_UNPACKED >> 30} GB")
                        file.write(block)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, PosegenError):
            raise
        raise PosegenError(f"{path} is damaged: zip the folder again") from error


def main() -> None:
    """Print what is in the file that the arguments name."""
    kind, path = sys.argv[1], Path(sys.argv[2])
    try:
        print(json.dumps({"facts": look(kind, path)}))
    except PosegenError as error:
        print(json.dumps({"error": str(error.args[0])}))


if __name__ == "__main__":
    main()
