"""Compare codecs for the frames of clips in shards: size, time to write and to read, loss.

    python benchmarks/clip_storage.py --videos FILE... [--encode]

The first 81 frames at 16 a second of each video (PoseGen's clip; fewer where it is shorter), scaled and cropped as
`posegen prepare` does to 480x832 or 832x480, are kept as NPZ (zlib, as synthetic shards are), as FFV1, and as H.264
4:4:4 at some qualities. Times are processor seconds for a whole clip; `read_17` is a run of 17 frames from the middle,
as the autoencoder's training reads them (an NPZ is always read whole). PSNR is over all frames and channels;
`largest_error` is the largest of any channel of any pixel, `p999_error` the 99.9th percentile. `--encode`: the error of
the embedded mini's latents of coded frames, relative to the latents' own deviation.
"""

import argparse
import io
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posegen.media.fitting import plan_fit
from posegen.media.packed import CRF, pack_frames, unpack_frames
from posegen.media.video import iterate_frames, probe_video
from results_file import write_result

FRAMES, FPS = 81, 16


def clip_of(path: Path) -> np.ndarray:
    info = probe_video(path)
    size = (480, 832) if info.width > info.height else (832, 480)
    fit = plan_fit((info.height, info.width), size, "crop")
    return np.stack([fit.apply(frame) for frame in islice(iterate_frames(path, FPS), FRAMES)])


def as_npz(frames: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, frames=frames)
    return out.getvalue()


def from_npz(content: bytes, start: int, stop: int) -> np.ndarray:
    return np.load(io.BytesIO(content))["frames"][start:stop]


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    result = call()
    return result, round(time.process_time() - began, 2)


def measure(frames: np.ndarray, write: Callable, read: Callable, encode: Callable | None) -> dict[str, float]:
    content, writing = timed(lambda: write(frames))
    kept, reading = timed(lambda: read(content, 0, len(frames)))
    middle = len(frames) // 2
    _, reading_17 = timed(lambda: read(content, middle - 8, middle + 9))
    error = np.abs(kept.astype(np.int16) - frames)
    squared = float(np.mean(error.astype(np.float64) ** 2))
    figures = {
        "megabytes": round(len(content) / 1e6, 2), "write_s": writing, "read_s": reading, "read_17_s": reading_17,
        "psnr_db": round(10 * np.log10(255**2 / squared), 1) if squared else float("inf"),
        "largest_error": int(error.max()), "p999_error": float(np.percentile(error, 99.9)),
    }  # fmt: skip
    if encode is not None and squared:
        true, coded = encode(frames), encode(kept)
        figures["latent_error_of_deviation"] = round(float((true - coded).std() / true.std()), 4)
    return {name: "none" if value == float("inf") else value for name, value in figures.items()}


def encoder() -> Callable[[np.ndarray], torch.Tensor]:
    from posegen.model.latents import encode_frames
    from posegen.model.sources import load_for_encoding

    vae = load_for_encoding("mini", torch.float32).vae
    return lambda frames: encode_frames(vae, frames[:17])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, nargs="+", required=True)
    parser.add_argument("--encode", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encode = encoder() if arguments.encode else None
    kinds: dict[str, tuple[Callable, Callable]] = {"npz": (as_npz, from_npz)}
    kinds["ffv1"] = (lambda frames: pack_frames(frames, FPS, "ffv1"), unpack_frames)
    for crf in (0, CRF, 8, 12):
        kinds[f"h264 444 crf {crf}"] = (lambda frames, crf=crf: pack_frames(frames, FPS, "h264", crf), unpack_frames)
    figures: dict[str, object] = {}
    for path in arguments.videos:
        frames = clip_of(path)
        found: dict[str, object] = {"frames": len(frames), "raw_megabytes": round(frames.nbytes / 1e6, 1)}
        for name, (write, read) in kinds.items():
            found[name] = measure(frames, write, read, encode)
        figures[path.stem] = found
    write_result("clip_storage", figures)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
