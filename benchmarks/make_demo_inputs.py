"""Make the bundled inputs of `posegen demo`: a synthetic person who is in no training data, and the exact conditions.

    python benchmarks/make_demo_inputs.py [--output src/posegen/demo]

The reference image is a frame of the same clip, after the end of the driving video: the driving video is the ground
truth for the result. Same seeds, same frames.
"""

import argparse
import itertools
from fractions import Fraction
from pathlib import Path

import posegen
from posegen.data.clips import Drawing
from posegen.evaluate.filming import FilmFormat, film
from posegen.media.image import write_image
from posegen.model.sources import describe_model
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, place_of

SEED, PERSON, FRAMING, STYLE = 7, 159, "half-body", "lively"
"""Validation identities are never trained on; this one turns, raises both arms, comes near and shows both hands."""
FRAME_SIZE, SIZE, FPS = (512, 288), (256, 144), 16
FRAMES, REFERENCE = 12 * FPS, 200
CLIP_FRAMES = 14 * FPS
"""All that is drawn from the seeds depends on the length of the clip: the frames above are of this one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(posegen.__file__).parent / "demo")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    model = describe_model("mini")
    place = place_of(ShardSettings("val-same", PERSON + 1, SEED), PERSON)
    clip = SyntheticClip(
        place.identity_seed, place.seed, SyntheticClipSettings(*FRAME_SIZE, CLIP_FRAMES, float(FPS), STYLE), FRAMING
    )
    frames = clip.frames()
    drawing = Drawing(model.draw_scale, model.skeleton_colors)
    driven = itertools.islice(frames, FRAMES)
    form = FilmFormat(Fraction(FPS), FRAME_SIZE, SIZE, drawing, crf=18)
    film(driven, folder / "driving.mp4", folder / "conditions", form)
    reference = next(itertools.islice(frames, REFERENCE - FRAMES, None))
    write_image(folder / "reference.png", reference.rgb)
    (folder / "prompt.txt").write_text(clip.caption + "\n")
    for path in sorted(folder.rglob("*")):
        print(f"{path.stat().st_size:>9,} {path}")


if __name__ == "__main__":
    main()
