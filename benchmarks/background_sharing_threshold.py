"""Measure how far a segment's camera may be from the anchor's before sharing the anchor's background harms.

    python benchmarks/background_sharing_threshold.py PICTURE_OR_VIDEO ...

The shared steps decide only the coarse structure of the background: at the end of the first fifth of the steps the
noise is still stronger than all fine detail. From each real picture (of a video its first frame; the person is filled
in from around) windows are taken that are moved (eight directions) or zoomed (in and out) by a known distance, each is
reduced by a Wiener filter to what can be told from noise at that step, and it is measured how much of the moved
window's structure the unmoved one explains: R2 = 1 - sum (moved - unmoved)^2 / sum (moved - mean)^2. At 1 the anchor's
background is right, at 0 it is no better than an even grey, below it is worse. Distances are root mean squares over
the picture's points as shares of its diagonal, as in `BackgroundMotion.distance`.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from posegen.conditions.camera import person_mask
from posegen.conditions.reference_person import find_reference_people
from posegen.media.image import read_image
from posegen.media.video import iterate_frames
from results_file import write_result

DISTANCES = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.16, 0.2)
# name: latent rows of the shorter side, latent frames, flow shift, steps, shared steps
MODELS = {"14B at 720p": (90, 21, 5.0, 25, 5), "mini": (14, 9, 3.0, 4, 1)}
WINDOW = 0.62  # of the picture's sides; the rest is room to move
STANDARD = 320  # pixels of a window's longer side


def plate(path: Path) -> np.ndarray:
    """The picture in grey without its person, float32."""
    try:
        picture = read_image(path)
    except ValueError:
        picture = next(iterate_frames(path))
    scale = STANDARD / WINDOW / max(picture.shape[:2])
    person = find_reference_people(picture).chosen
    size = (round(picture.shape[0] * scale), round(picture.shape[1] * scale))
    small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    mask = person_mask(person.keypoints * scale, person.scores, size).astype(np.uint8)
    return cv2.cvtColor(cv2.inpaint(small, mask, 5, cv2.INPAINT_TELEA), cv2.COLOR_RGB2GRAY).astype(np.float32)


def window(picture: np.ndarray, zoom: float, shift: complex) -> np.ndarray:
    """The middle of the picture, enlarged by `zoom` and its content moved by `shift` diagonals."""
    height, width = (round(side * WINDOW) for side in picture.shape)
    diagonal = np.hypot(height, width)
    middle = (np.array(picture.shape[::-1]) - 1) / 2
    centre = (np.array([width, height]) - 1) / 2 + diagonal * np.array([shift.real, shift.imag])
    matrix = np.column_stack([zoom * np.eye(2), centre - zoom * middle])
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def decided(picture: np.ndarray, gains: np.ndarray) -> np.ndarray:
    mirrored = np.pad(picture, [(0, picture.shape[0]), (0, picture.shape[1])], mode="symmetric")
    return np.fft.ifft2(np.fft.fft2(mirrored) * gains).real[: picture.shape[0], : picture.shape[1]]


def wiener_gains(picture: np.ndarray, model: str) -> tuple[np.ndarray, float]:
    """The filter for a picture (mirrored to twice its sides), and the most cycles per picture it lets half through."""
    rows, frames, shift, steps, shared = MODELS[model]
    left = 1 - shared / steps
    sigma = shift * left / (1 + (shift - 1) * left)
    pixels = rows * rows * max(picture.shape) / min(picture.shape)  # of the latents
    mirrored = np.pad(picture, [(0, picture.shape[0]), (0, picture.shape[1])], mode="symmetric")
    power = np.abs(np.fft.fft2(mirrored - mirrored.mean())) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, 0.5 / n) for n in mirrored.shape), indexing="ij"))
    ring = np.minimum(frequency.astype(int), 2 * max(picture.shape))
    counts = np.bincount(ring.ravel())
    smooth = (np.bincount(ring.ravel(), power.ravel()) / np.maximum(counts, 1))[ring]
    smooth *= pixels / (smooth.sum() / 4)  # latents have variance 1; mirroring makes four modes of one
    gains = smooth / (smooth + (sigma / (1 - sigma)) ** 2 / frames)
    gains[0, 0] = 1
    return gains, float(frequency[gains > 0.5].max(initial=0))


def explained(moved: np.ndarray, unmoved: np.ndarray) -> float:
    return 1 - float(((moved - unmoved) ** 2).sum() / ((moved - moved.mean()) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, nargs="+")
    pictures = {path.name: plate(path) for path in parser.parse_args().pictures}
    figures: dict[str, object] = {"pictures": list(pictures), "distances": list(DISTANCES)}
    for model in MODELS:
        table: dict[str, list[list[float]]] = {"moved": [], "zoomed": []}
        finest = []
        for picture in pictures.values():
            unmoved = window(picture, 1, 0)
            gains, cycles = wiener_gains(unmoved, model)
            finest.append(round(cycles, 1))
            unmoved = decided(unmoved, gains)
            rows: dict[str, list[float]] = {"moved": [], "zoomed": []}
            for distance in DISTANCES:
                shifts = distance * np.exp(2j * np.pi * np.arange(8) / 8)
                zooms = [1 + distance * np.sqrt(12), 1 / (1 + distance * np.sqrt(12))]
                moved = [explained(decided(window(picture, 1, shift), gains), unmoved) for shift in shifts]
                zoomed = [explained(decided(window(picture, zoom, 0), gains), unmoved) for zoom in zooms]
                rows["moved"].append(float(np.mean(moved)))
                rows["zoomed"].append(float(np.mean(zoomed)))
            for kind, row in rows.items():
                table[kind].append(row)
        figures[model] = {
            "finest_decided_cycles_per_picture": finest,
            **{
                f"explained_{kind}_{which}": [round(float(value), 2) for value in function(rows, axis=0)]
                for kind, rows in table.items()
                for which, function in (("median", np.median), ("worst", np.min))
            },
        }
    write_result("background_sharing_threshold", figures)


if __name__ == "__main__":
    sys.exit(main())
