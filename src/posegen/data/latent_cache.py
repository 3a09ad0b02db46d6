"""Encodes clips once and keeps their latents and features, by content, for the stages that train the transformer.

One safetensors file per shard and kind of encoding; its name is a hash of the shard's bytes, the encoders' weights and
the settings, so nothing stale is ever read, and an interrupted preparation resumes. Values are bfloat16. `posegen
prepare` writes the same files ahead of training (`prepare/stages/latent_stage.py`). `train/schedule.py` chooses the
items of a batch.
"""

import copy
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from posegen.data.clips import Clip, Drawing
from posegen.data.encoding import Encoding
from posegen.data.fetching import UnreachableURLError
from posegen.data.shards import Sample, Shard, tolerate
from posegen.errors import OutputError, PosegenError, logger
from posegen.media.checksums import forget_checksum, state_of, write_checksum
from posegen.media.tensors import save_safetensors
from posegen.model.latents import encode_frames, use_channels_last
from posegen.model.pipeline import PoseGenPipeline

FORMAT = 2
FRAMEWISE = {"latents", "condition", "condition_without_hands", "hands"}
"""Tensors of a window with a time axis, (c, f, h, w)."""
GREY = 128
"""Grey level of frames that are not preserved in image-to-video training: 0 in the model's -1..1, as in Wan."""


class LatentItems:
    """The encoded windows of all shards, by number; tensors are views of the files, which are mapped, not read."""

    def __init__(self, files: list[Path]) -> None:
        """Open the files of one encoding, in order."""
        self._files = files
        self._opened: dict[int, Any] = {}
        self._tensors: dict[tuple[int, str], torch.Tensor] = {}
        self._places: list[tuple[int, int, int]] = []  # file, window, clip
        for number in range(len(files)):
            opened = self._open(number)
            windows = _metadata(opened)["windows"]
            count = opened.get_slice("latents").get_shape()[0] if opened.keys() else 0  # all its clips were left out
            self._places += [(number, window, window // windows) for window in range(count)]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._places)

    def _open(self, number: int) -> Any:
        if number not in self._opened:
            self._opened[number] = safe_open(self._files[number], framework="pt")
        return self._opened[number]

    def shape(self, name: str, item: int = 0) -> list[int]:
        """Return the shape of one tensor of a window; items of different files may differ in height and width."""
        return list(self._open(self._places[item][0]).get_slice(name).get_shape()[1:])

    @functools.cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the latents of each item."""
        of_file = {number: self._open(number).get_slice("latents").get_shape() for number, _, _ in self._places}
        return [(of_file[number][-2], of_file[number][-1]) for number, _, _ in self._places]

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Return the bfloat16 tensors of a window: `FRAMEWISE` ones (c, f, h, w), reference (c, 1, h, w), features."""
        return self.read(item)

    def read(self, item: int, frames: slice = slice(None), without: Collection[str] = ()) -> dict[str, torch.Tensor]:
        """Return the same for some latent frames only, without the tensors named in `without`."""
        number, window, clip = self._places[item]
        names = set(self._open(number).keys()) - set(without)
        return {
            name: tensor[window, :, frames] if name in FRAMEWISE else tensor[clip]
            for name, tensor in ((name, self._tensor(number, name)) for name in names)
        }

    def _tensor(self, number: int, name: str) -> torch.Tensor:
        """Return a whole tensor of a file; its slices cost nothing, unlike those of safetensors."""
        if (number, name) not in self._tensors:
            self._tensors[number, name] = self._open(number).get_tensor(name)
        return self._tensors[number, name]


class LatentCache:
    """Encodes shards with a pipeline's encoders, into files named by content."""

    def __init__(self, folder: Path, pipeline: PoseGenPipeline, dtype: torch.dtype = torch.bfloat16) -> None:
        """dtype: of the VAE's computation; the text and image encoders use their own."""
        self.folder, self.pipeline, self.dtype = folder, pipeline, dtype
        config = pipeline.config
        self.drawing = Drawing(config.draw_scale, config.skeleton_colors)
        self.vae = copy.deepcopy(pipeline.vae).requires_grad_(False)
        for tensor in (*self.vae.parameters(), *self.vae.buffers()):
            tensor.data = tensor.data.to(dtype)
        use_channels_last(self.vae)
        self._encoders = _digest_of_encoders(pipeline)

    def prepare(
        self,
        shards: list[Shard],
        encoding: Encoding,
        progress: Callable[[int, int], None] = lambda done, total: None,
        rank: int = 0,
        world: int = 1,
    ) -> list[Path]:
        """Encode every `world`-th shard that is missing, and return the files of all shards in order.

        Clips that cannot be read are left out, named and counted. Raises `PosegenError` if more than 1 % are, and
        `OutputError` where the cache cannot be written.
        """
        files = [self.file(shard, encoding) for shard in shards]
        bad: list[str] = []
        for number, (shard, file) in enumerate(zip(shards, files, strict=True)):
            if number % world != rank:
                continue
            bad += clips_left_out(file) if is_whole(file) else self.encode_shard(shard, encoding)
            progress(number + 1, len(shards))
        total = sum(len(shard.samples) for number, shard in enumerate(shards) if number % world == rank)
        tolerate(bad, total, "clips", "they are damaged")
        return files

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that encoded clips depend on besides the clips and the encoding."""
        return {"encoders": self._encoders, "drawing": dataclasses.asdict(self.drawing), "dtype": str(self.dtype)}

    def file(self, shard: Shard, encoding: Encoding) -> Path:
        """Return the path of a shard's encoded clips."""
        keys = [sample.key for sample in shard.samples]
        return self.folder / file_name(shard.sha256, keys, encoding, self.identity)

    def encode_shard(self, shard: Shard, encoding: Encoding) -> list[str]:
        """Encode one shard into its file; returns the clips left out."""
        clips, bad = [], []
        for sample in shard.samples:
            try:
                clips.append(self.encode(sample, encoding))
            except (UnreachableURLError, OutputError):
                raise
            except PosegenError:
                bad.append(sample.key)
        write_encoded(self.file(shard, encoding), clips, encoding, bad)
        return bad

    def encode(self, sample: Sample, encoding: Encoding) -> dict[str, torch.Tensor]:
        """Encode one clip: tensors with a row for every window, or for the clip and its mirror image.

        Raises `PosegenError` for one that is damaged.
        """
        rows: dict[str, list[torch.Tensor]] = {}
        for side in (False, True)[: 1 + encoding.mirrored]:
            for name, tensors in self._encode_side(sample, encoding, side).items():
                rows.setdefault(name, []).extend(tensors)
        return {name: torch.stack(tensors) for name, tensors in rows.items()}

    def _encode_side(self, sample: Sample, encoding: Encoding, mirrored: bool) -> dict[str, list[torch.Tensor]]:
        clip = Clip(sample, self.drawing, mirrored)
        rows: dict[str, list[torch.Tensor]] = {}
        for start in encoding.starts(sample.num_frames):
            for name, tensor in self._encode_window(clip, encoding, start).items():
                rows.setdefault(name, []).append(tensor)
        first_frame = clip.frames(0, 1)[0]
        reference = clip.reference if encoding.pose else first_frame
        if encoding.pose:
            rows["reference"] = [self.latents(reference[None])]
        rows["text"] = [self.pipeline.encode_text(clip.caption)[0].bfloat16()]
        rows["image"] = [self.pipeline.encode_image(reference)[0].bfloat16()]
        return rows

    def _encode_window(self, clip: Clip, encoding: Encoding, start: int) -> dict[str, torch.Tensor]:
        stop = start + encoding.num_frames
        frames = clip.frames(start, stop)
        head, tail = encoding.head, encoding.tail

        def with_given(condition: np.ndarray) -> np.ndarray:
            condition = condition.copy()
            condition[:head] = frames[:head]
            condition[len(frames) - tail :] = frames[len(frames) - tail :]
            return condition

        encoded = {"latents": self.latents(frames)}
        if not encoding.pose:
            return encoded | {"condition": self.latents(with_given(np.full_like(frames, GREY)))}
        without = clip.skeletons(start, stop, hands=False)
        return encoded | {
            "condition": self.latents(with_given(clip.skeletons(start, stop))),
            "condition_without_hands": self.latents(with_given(without)),
            "hands": self.latents(with_given(clip.hands(start, stop))),
        }

    def to(self, device: torch.device) -> None:
        """Move the encoders to a device."""
        for encoder in (self.vae, self.pipeline.text_encoder, self.pipeline.image_encoder):
            encoder.to(device)

    def release(self) -> None:
        """Take text and image encoder off the device; the autoencoder stays for sample videos."""
        for encoder in (self.pipeline.text_encoder, self.pipeline.image_encoder):
            encoder.to("cpu")

    def latents(self, frames: np.ndarray) -> torch.Tensor:
        """Encode frames, uint8 (F, H, W, 3), into latents (c, f, h, w)."""
        return encode_frames(self.vae, frames)[0].bfloat16()


def file_name(shard: str, clips: list[str], encoding: Encoding, identity: dict[str, Any]) -> str:
    """Return a file's name, from the SHA-256 of the shard's bytes, its clips, and `LatentCache.identity`."""
    content = {"format": FORMAT, "shard": shard, "clips": clips, "encoding": dataclasses.asdict(encoding), **identity}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:40] + ".safetensors"


def write_encoded(file: Path, clips: list[dict[str, torch.Tensor]], encoding: Encoding, left_out: list[str]) -> None:
    """Write the encoded clips of a shard, in order; all may have been left out. Raises `OutputError`."""
    metadata = {"posegen": json.dumps({"windows": encoding.windows, "left_out": left_out})}
    together = {name: torch.cat([clip[name] for clip in clips]) for name in (clips[0] if clips else ())}
    forget_checksum(file)
    save_safetensors(together, file, metadata)
    write_checksum(file)


def ends_of_stitch(num_frames: int, segment_length: int, head: int, tail: int) -> tuple[int, int]:
    """Given frames at both ends of a stitch segment of another length than the model's own: in proportion, at least
    one."""
    share = num_frames / segment_length
    return max(int(head * share), 1), max(int(tail * share), 1)


def is_whole(file: Path) -> bool:
    """Return whether a file of the cache is there and matches its checksum; a damaged one is reported in one line."""
    state = state_of(file)
    if state != "intact":
        if state != "missing":
            reason = "damaged" if state == "damaged" else "without a checksum"
            logger.warning("%s is %s: its clips are encoded again", file, reason)
        return False
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() is not None
    except (OSError, SafetensorError):
        return False


def clips_left_out(file: Path) -> list[str]:
    """Return the keys of the shard's clips that are not in the file, since they cannot be read."""
    with safe_open(file, framework="pt") as opened:
        return list(_metadata(opened)["left_out"])


def _metadata(opened: Any) -> dict[str, Any]:
    """One entry: safetensors writes several in random order, and files should be the same every time."""
    return dict(json.loads(opened.metadata()["posegen"]))


def _digest_of_encoders(pipeline: PoseGenPipeline) -> str:
    """Hash everything that latents and features depend on: weights, tokenizer, settings; not of the decoder."""
    digest = hashlib.sha256()
    for name in ("vae", "text_encoder", "image_encoder"):
        for key, tensor in sorted(pipeline.components[name].state_dict().items()):
            if name == "vae" and key.startswith(("decoder", "post_quant_conv")):
                continue
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    vae = pipeline.vae.config
    statistics = [list(vae.latents_mean), list(vae.latents_std)]
    vocabulary = sorted(pipeline.tokenizer.get_vocab().items())
    processor = pipeline.image_processor.to_dict()
    digest.update(
        json.dumps([statistics, vocabulary, pipeline.config.max_text_tokens, processor], default=str).encode()
    )
    return digest.hexdigest()
