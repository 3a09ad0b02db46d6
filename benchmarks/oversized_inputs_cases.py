"""The inputs of `oversized_inputs.py`: small to make and to commit, large or endless for whoever believes them.

None of them is meant for the faults of other software: what those are guarded against is tested with short stand-ins.
"""

import io
import json
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

import broken_inputs_damages as damages
from broken_inputs_cases import EITHER, REFUSED, Case
from broken_inputs_damages import Damage

MEGABYTE = 1 << 20
_GENERATE = ("generate", "--reference", "{good}/pictures/reference.png", "--driving", "{good}/videos/dance.mp4",
             "--model", "{good}/model", "--output", "{out}/result.mp4", "--size", "96x64", "--steps", "1", "--dtype",
             "float32", "--prompt", "A woman")  # fmt: skip
_MADE = ("--no-person-check", "--conditions", "{good}/made/conditions")


def _with(command: tuple[str, ...], option: str, value: str) -> tuple[str, ...]:
    place = command.index(option) + 1
    return (*command[:place], value, *command[place + 1 :])


PICTURE = ("prompt", "--reference", "{in}/reference.png", "--framing", "half-body")
DRIVING = (*_with(_GENERATE, "--driving", "{in}/dance.mp4"), "--dry-run")
KEYPOINTS = ("extract", "--driving", "{good}/videos/dance.mp4", "--output", "{out}/conditions", "--no-hands", "--size",
             "96x64", "--pose", "file", "--pose-file", "{in}/keypoints.json")  # fmt: skip
CONDITIONS = (*_GENERATE, "--dry-run", "--no-person-check", "--conditions", "{in}/conditions")
MODEL = (*_with(_GENERATE, "--model", "{in}/model"), *_MADE)
TRAIN = ("train", "vae", "--recipe", "{in}/recipe.toml", "--output", "{out}/run", "--data", "{good}/train/shards",
         "--validation", "{good}/train/shards", "--cache", "{out}/cache")  # fmt: skip
SHARDS = ("train", "vae", "--recipe", "{good}/train/recipe.toml", "--output", "{out}/run", "--data", "{in}/shards",
          "--validation", "{good}/train/shards", "--cache", "{out}/cache")  # fmt: skip
PREPARE = ("prepare", "{good}/no such video.mp4", "--recipe", "{in}/recipe.toml", "--output", "{out}/set")
BENCHMARK = ("evaluate", "--benchmark", "{in}/evaluation", "--methods", "ours={good}/methods/ours", "--output",
             "{out}/report", "--cache", "{out}/scores", "--no-people", "--no-embedded", "--no-videos", "--protocol",
             "native")  # fmt: skip
FILES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "picture": ("pictures/reference.png", "", PICTURE),
    "video": ("videos/dance.mp4", "", DRIVING),
    "keypoints in JSON": ("keypoints/inferencer/keypoints.json", "", KEYPOINTS),
    "keypoints in NPZ": ("keypoints/dwpose-npz/keypoints.npz", "",
                         _with(KEYPOINTS, "--pose-file", "{in}/keypoints.npz")),
    "conditions manifest": ("made/conditions/manifest.json", "made/conditions", CONDITIONS),
    "conditions keypoints": ("made/conditions/keypoints.npz", "made/conditions", CONDITIONS),
    "model config": ("model/transformer/config.json", "model", MODEL),
    "autoencoder config": ("model/vae/config.json", "model", MODEL),
    "LoRA file": ("lora/style.safetensors", "", (*_GENERATE, *_MADE, "--lora", "{in}/style.safetensors")),
    "training recipe": ("train/recipe.toml", "", TRAIN),
    "prepare recipe": ("prepare/recipe.toml", "", PREPARE),
    "benchmark.yaml": ("evaluation/benchmark.yaml", "evaluation", BENCHMARK),
    "list txt": ("prepare/list.txt", "", ("prepare", "{in}/list.txt", "--output", "{out}/set")),
    "list json": ("prepare/list.json", "", ("prepare", "{in}/list.json", "--output", "{out}/set")),
    "shard": ("train/shards/train-000000.tar", "train/shards", SHARDS),
    "index of shards": ("train/shards/train.json", "train/shards", SHARDS),
    "index of shards over HTTP": ("train/shards/train.json", "train/shards", _with(SHARDS, "--data", "{url}/shards")),
    "shard over HTTP": ("train/shards/train-000000.tar", "train/shards", _with(SHARDS, "--data", "{url}/shards")),
    "list txt over HTTP": ("prepare/list.txt", "", ("prepare", "{url}/list.txt", "--output", "{out}/set")),
    "job manifest": ("made/job/result.posegen", "made/job", ("jobs", "{in}/job")),
    "index.parquet": ("screening/index.parquet", "screening", ("screen", "{in}/screening", "--port", "{port}")),
    "cached scores": ("made/scores", "made/scores", _with(_with(BENCHMARK, "--benchmark", "{good}/evaluation"),
                                                          "--cache", "{in}/scores")),
}  # fmt: skip
"""Kind -> file, the folder around it if that is copied, and the command that reads it."""


def oversized_cases() -> Iterator[Case]:
    """All of them. A file that is not there comes first for each command: what it takes to get to reading."""
    for kind in FILES:
        if kind not in ("job manifest", "cached scores"):  # folders
            yield _case(kind, "not there, for comparison", damages.REFUSED["missing"], _expected_gone(kind))
            if not kind.endswith("HTTP"):  # there it is the server that would wait
                yield _case(kind, "named pipe", damages.REFUSED["pipe"], _expected_gone(kind))
            yield _case(kind, "two gigabytes of nothing", _sparse, _expected_gone(kind))
    yield from (_case(kind, name, damage, expected) for kind, name, damage, expected in _all())


def _expected_gone(kind: str) -> str:
    return EITHER if kind in ("index of shards", "conditions manifest", "conditions keypoints") else REFUSED


def _case(kind: str, name: str, damage: Damage, expected: str = REFUSED) -> Case:
    file, copied, command = FILES[kind]
    return Case(kind, name, command, file, copied or file, damage, expected, False)


def _all() -> Iterator[tuple[str, str, Damage, str]]:
    for kind in ("keypoints in JSON", "list json", "index of shards", "index of shards over HTTP", "model config",
                 "conditions manifest"):  # fmt: skip
        for name, damage in _JSON.items():
            yield kind, name, damage, EITHER if kind == "conditions manifest" else REFUSED
    for name, number in (("a billion", 10**9), ("beyond 64 bits", 10**30)):
        yield "keypoints in JSON", f"a frame numbered {name}", _frame_number(number), EITHER
    for name, damage in _YAML.items():
        yield "benchmark.yaml", name, damage, REFUSED
    for kind in ("training recipe", "prepare recipe"):
        for name, damage in _TOML.items():
            yield kind, name, damage, REFUSED
    for name, (old, new) in _RECIPE_SIZES.items():
        yield "training recipe", name, _replaced(old, new), REFUSED
    for name, line in _PREPARE_SIZES.items():
        yield "prepare recipe", name, _written(line), REFUSED
    for kind in ("keypoints in NPZ", "conditions keypoints"):
        for name, damage in _NPZ.items():
            yield kind, name, damage, EITHER if kind == "conditions keypoints" else REFUSED
    for key in ("num_layers", "ffn_dim", "num_attention_heads", "attention_head_dim", "in_channels", "text_dim"):
        yield "model config", f"{key} = 5000", _json_number(key, 5000), REFUSED
    for key in ("encoder_channels", "decoder_channels"):
        yield "autoencoder config", f"{key} = 5000 each", _json_number(key, [5000, 5000, 5000]), REFUSED
    yield "LoRA file", "header promises much", _safetensors_promise, REFUSED
    yield "LoRA file", "header of 90 MB", _safetensors_header, REFUSED
    for name, damage in _LISTS.items():
        yield "list txt", name, damage, REFUSED
        yield "list txt over HTTP", name, damage, REFUSED
    for name, damage in _PICTURES.items():
        yield "picture", name, damage, REFUSED
    yield "picture", "89 million pixels of one colour", _png(9_459, 9_459), EITHER
    for name, damage in _VIDEOS.items():
        yield "video", name, damage, EITHER
    for name, damage in _SHARDS.items():
        yield "shard", name, damage, REFUSED
    yield "shard over HTTP", "index promises less than there is", _index_promises_less, REFUSED
    yield "index of shards over HTTP", "index promises a petabyte", _index_promises_more, REFUSED
    yield "job manifest", "two gigabytes of nothing", _sparse_json, EITHER
    yield "cached scores", "two gigabytes of nothing", _sparse_json, EITHER
    yield "index.parquet", "fifty million rows of one clip", _parquet, REFUSED


def _sparse(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")
    os.truncate(path, 2 << 30)


def _sparse_json(path: Path, chance: random.Random) -> None:
    for file in path.rglob("*"):
        if file.is_file() and file.suffix in (".json", ".npz", ".sha256"):
            _sparse(file, chance)


def _written(text: str | Callable[[], str]) -> Damage:
    def write(path: Path, chance: random.Random) -> None:
        path.write_text(text if isinstance(text, str) else text(), encoding="utf-8")

    return write


def _replaced(old: str, new: str) -> Damage:
    def replace(path: Path, chance: random.Random) -> None:
        text = path.read_text()
        if old not in text:
            raise ValueError(f"{old!r} is not in {path}")
        path.write_text(text.replace(old, new))

    return replace


def _json_number(key: str, value: object) -> Damage:
    def change(path: Path, chance: random.Random) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return change


def _frame_number(number: int) -> Damage:
    """The last entry of MMPose's Inferencer gets this number."""

    def change(path: Path, chance: random.Random) -> None:
        content = json.loads(path.read_text())
        entries = content["instance_info"] if isinstance(content, dict) else content
        entries[-1]["frame_id"] = number
        path.write_text(json.dumps(content))

    return change


_JSON: dict[str, Damage] = {
    "a million arrays in each other": _written(lambda: "[" * 1_000_000 + "]" * 1_000_000),
    "a million objects in each other": _written(lambda: '{"a":' * 1_000_000 + "1" + "}" * 1_000_000),
    "60 MB of empty arrays": _written(lambda: "[" + "[]," * 20_000_000 + "[]]"),
    "60 MB of empty objects": _written(lambda: "[" + "{}," * 20_000_000 + "{}]"),
    "60 MB of zeros": _written(lambda: "[" + "0," * 30_000_000 + "0]"),
    "14 MB of empty arrays": _written(lambda: "[" + "[]," * 4_700_000 + "[]]"),
    "25 MB of numbers": _written(lambda: "[" + "0.5," * 6_200_000 + "0.5]"),
    "60 MB of one text": _written(lambda: '["' + "x" * 60_000_000 + '"]'),
    "60 MB of one text, with an emoji": _written(lambda: '["' + "x" * 60_000_000 + '\U0001f483"]'),
    "a name of 20 MB": _written(lambda: '{"' + "x" * 20_000_000 + '": 1}'),
    "a million digits": _written(lambda: "[" + "9" * 1_000_000 + "]"),
    "a million digits after the point": _written(lambda: "[0." + "9" * 1_000_000 + "]"),
}
_YAML: dict[str, Damage] = {
    "half a million lists in each other": _written(lambda: "clips: " + "[" * 500_000 + "]" * 500_000),
    "indented lists": _written(lambda: "- " * 500_000 + "x"),
    "aliases that multiply": _written(
        lambda: "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 25))),
    "one megabyte of empty lists": _written(lambda: "clips: [" + "[]," * 340_000 + "[]]"),
    "a name of a megabyte": _written(lambda: "x" * 1_000_000 + ": 1\n"),
    "a text of a megabyte": _written(lambda: f"name: {'x' * 1_000_000}\nfps: 12\nclips: nothing\n"),
    "half a megabyte of empty lists": _written(lambda: "clips: [" + "[]," * 170_000 + "[]]"),
    "half a megabyte of empty mappings": _written(lambda: "clips: [" + "{}," * 170_000 + "{}]"),
    "half a megabyte of keys": _written(lambda: "".join(f"k{n}: 1\n" for n in range(50_000))),
    "fifty thousand clips": _written(lambda: "clips:\n" + "- {}\n" * 50_000),
    "two megabytes": _written(lambda: "name: " + "x" * 2 * MEGABYTE),
}  # fmt: skip
_TOML: dict[str, Damage] = {
    "arrays in each other": _written(lambda: "a = " + "[" * 100_000 + "]" * 100_000),
    "tables in each other": _written(lambda: "a = " + "{a = " * 40_000 + "1" + "}" * 40_000),
    "a quarter of a megabyte of empty arrays": _written(lambda: "a = [" + "[]," * 85_000 + "]"),
    "a quarter of a megabyte of tables": _written(lambda: "[[a]]\n" * 43_000),
    "a quarter of a megabyte of keys": _written(lambda: "".join(f"k{n} = 1\n" for n in range(24_000))),
    "long names": _written(lambda: "".join(f"{'a.' * 60}k{n} = 1\n" for n in range(2_000))),
    "a name of a quarter of a megabyte": _written(lambda: "x" * 250_000 + " = 1\n"),
    "a text of a quarter of a megabyte": _written(lambda: f'name = "{"x" * 250_000}"\n'),
    "two megabytes": _written(lambda: f'name = "{"x" * 2 * MEGABYTE}"\n'),
}  # fmt: skip
_RECIPE_SIZES: dict[str, tuple[str, str]] = {
    "a billion layers": ("layers = 2", "layers = 1000000000"),
    "a billion heads": ("heads = 2", "heads = 1000000000"),
    "a hundred thousand layers": ("layers = 2", "layers = 100000"),
    "a hundred thousand heads": ("heads = 2", "heads = 100000"),
    "a batch of a billion": ("batch_size = 2", "batch_size = 1000000000"),
    "clips of a billion frames": ("num_frames = 5", "num_frames = 1000000001"),
    "crops of a billion pixels": ("crop = 16", "crop = 1000000000"),
    "a number beyond 64 bits": ("steps = 2", f"steps = {10**30}"),
}
_PREPARE_SIZES: dict[str, str] = {
    "clips of a billion frames": "[clips]\nnum_frames = 1000000001\n",
    "clips of a billion pixels": "[clips]\nsize = [1000000000, 16]\n",
    "fifteen thousand sizes": "[clips]\nsizes = [" + "[96, 64], " * 15_000 + "]\n",
    "a billion workers": "[compute]\nworkers = 1000000000\n",
    "a billion clips in a shard": "[output]\nclips_per_shard = 1000000000\n",
}


def _npz(arrays: dict[str, tuple[tuple[int, ...], str]]) -> Damage:
    """Arrays of zeros, which deflate to a thousandth; written piece by piece."""

    def write(path: Path, chance: random.Random) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, (shape, kind) in arrays.items():
                _add_zeros(archive, name, shape, kind)

    return write


def _add_zeros(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kind: str) -> None:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
        np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
        for _ in range(size // MEGABYTE):
            out.write(bytes(MEGABYTE))
        out.write(bytes(size % MEGABYTE))


_NPZ: dict[str, Damage] = {
    "header promises much": damages.NPZ_REFUSED["header promises much"],
    "a thousandth of what it unpacks to": _npz({"keypoints": ((900, 1_000_000), "<u1"), "scores": ((1, 1), "<f4")}),
    "two gigabytes of zeros": _npz({"keypoints": ((2_000, 1_000_000), "<u1"), "scores": ((1, 1), "<f4")}),
    "a million frames": _npz({"keypoints": ((400_000, 133, 2), "<f4"), "scores": ((400_000, 133), "<f4")}),
    "many arrays": _npz({f"a{n}": ((4,), "<f4") for n in range(5_000)}),
}  # fmt: skip


def _safetensors_promise(path: Path, chance: random.Random) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))


def _safetensors_header(path: Path, chance: random.Random) -> None:
    entry = '"a{0:07d}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    header = ("{" + ",".join(entry.format(number) for number in range(1_500_000)) + "}").encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


_LISTS: dict[str, Damage] = {
    "60 MB of names": _written(lambda: "a\n" * 30_000_000),
    "one name of 60 MB": _written(lambda: "a" * 60_000_000),
    "two million names": _written(lambda: "".join(f"{n}.mp4\n" for n in range(2_000_000))),
}


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int, *more: bytes) -> Damage:
    """A real PNG of one colour: a thousandth of what it unpacks to."""

    def write(path: Path, chance: random.Random) -> None:
        packer, packed = zlib.compressobj(1), bytearray()
        for _ in range(height):
            packed += packer.compress(bytes(1 + 3 * width))
        packed += packer.flush()
        head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + _chunk(b"IDAT", bytes(packed))
                         + _chunk(b"IEND", b""))  # fmt: skip

    return write


_PICTURES: dict[str, Damage] = {
    "60,000 x 60,000 by its header": damages.HUGE_PICTURE["png"],
    "100 million pixels of one colour": _png(10_000, 10_000),
    "a text that unpacks to 100 MB": _png(
        256, 256, _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100 * MEGABYTE), 1))),
    "a colour profile that unpacks to 100 MB": _png(
        256, 256, _chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(100 * MEGABYTE), 1))),
    "a GIF of 60,000 x 60,000": _written(""),
}  # fmt: skip


def _gif(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0x80, 0, 0) + bytes(6) + b","
                     + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;")  # fmt: skip


_PICTURES["a GIF of 60,000 x 60,000"] = _gif


def _video(size: tuple[int, int], count: int, times: Callable[[int], int] = int, codec: str = "libx264") -> Damage:
    """Frames of one colour; `times` gives milliseconds."""

    def write(path: Path, chance: random.Random) -> None:
        import av

        with av.open(path, "w", format="matroska") as container:
            stream = container.add_stream(codec, rate=12)
            stream.height, stream.width = size
            stream.pix_fmt, stream.thread_count, stream.options = "yuv420p", 1, {"preset": "ultrafast"}
            stream.codec_context.time_base = Fraction(1, 1000)
            frame = av.VideoFrame(size[1], size[0], "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            for number in range(count):
                frame.pts, frame.time_base = times(number), Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    return write


_VIDEOS: dict[str, Damage] = {
    "two frames a year apart": _video((96, 128), 2, lambda number: number * 31_536_000_000),
    "frames of 67 million pixels": _video((8_192, 8_176), 3, lambda number: number * 83),
    "frames of one column": _video((8_000, 16), 12, lambda number: number * 83),
    "a thousand frames in a millisecond each": _video((96, 128), 1_000, lambda number: number),
}


def _shard(content: Callable[[], dict[str, bytes]]) -> Damage:
    def write(path: Path, chance: random.Random) -> None:
        with tarfile.open(path, "w") as tar:
            for name, data in content().items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        (path.parent / "train.json").unlink(missing_ok=True)  # an index would tell that the shard is another one

    return write


def _clip(description: dict[str, int], frames: tuple[int, ...]) -> dict[str, bytes]:
    packed = io.BytesIO()
    count, height, width = description["num_frames"], description["height"], description["width"]
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _add_zeros(archive, "frames", frames, "|u1")
        for name, shape, kind in (
            ("masks", (count, height, width), "|u1"), ("normals", (count, height, width, 3), "|u1"),
            ("keypoints", (count, 133, 2), "<f4"), ("visibility", (count, 133), "|u1"),
            ("reference", (height, width, 3), "|u1"),
        ):  # fmt: skip
            _add_zeros(archive, name, shape, kind)
    return {"a.json": json.dumps(description).encode(), "a.txt": b"A person", "a.npz": packed.getvalue()}


_SMALL = {"num_frames": 9, "height": 32, "width": 32}


def _header_promises(size: int) -> Damage:
    def write(path: Path, chance: random.Random) -> None:
        member = tarfile.TarInfo("a.npz")
        member.size = size
        path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        (path.parent / "train.json").unlink(missing_ok=True)

    return write


_SHARDS: dict[str, Damage] = {
    "a file of a petabyte by its header": _header_promises(1 << 50),
    "frames that unpack to 900 MB": _shard(lambda: _clip(_SMALL, (300_000, 32, 32, 3))),
    "a billion frames by its description": _shard(
        lambda: _clip(_SMALL, (9, 32, 32, 3)) | {"a.json": json.dumps(_SMALL | {"num_frames": 10**9}).encode()}),
    "16,384 pixels a side by its description": _shard(
        lambda: _clip(_SMALL, (9, 32, 32, 3))
        | {"a.json": json.dumps(_SMALL | {"height": 16384, "width": 16384}).encode()}),
    "fifty thousand files": _shard(lambda: {f"{n:06d}.x": b"" for n in range(50_000)}),
    "a description of 15 MB": _shard(
        lambda: _clip(_SMALL, (9, 32, 32, 3)) | {"a.json": b"[" + b"[]," * 5_000_000 + b"[]]"}),
    "a caption of 100 MB": _shard(lambda: _clip(_SMALL, (9, 32, 32, 3)) | {"a.txt": b"x" * 100_000_000}),
    "a name of a megabyte": _shard(lambda: {"a/" * 500_000 + "a.json": b"{}"}),
}  # fmt: skip


def _entries(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    content = json.loads(path.read_text())
    for entry in content["shards"]:
        change(entry)
    path.write_text(json.dumps(content))


def _index_promises_less(path: Path, chance: random.Random) -> None:
    """The shard goes on for a gigabyte more than the index says."""
    os.truncate(path, path.stat().st_size + (1 << 30))


def _index_promises_more(path: Path, chance: random.Random) -> None:
    _entries(path, lambda entry: entry.update(bytes=1 << 50))


def _parquet(path: Path, chance: random.Random) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        one = file.read().slice(0, 1)
    columns = {}
    for name in one.column_names:
        value = one.column(name).combine_chunks()
        same = pa.array(np.zeros(500_000, np.int32))
        columns[name] = value.take(same) if name not in ("thumbnail", "dropped_by") else pa.nulls(500_000, value.type)
    many = pa.table(columns)
    with pq.ParquetWriter(path, many.schema, compression="zstd") as writer:
        for _ in range(100):
            writer.write_table(many)
