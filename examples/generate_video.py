"""Make a video: the person of a reference image makes the movements of a driving video.

python examples/generate_video.py person.png dance.mp4 out.mp4 [--model mini]
"""

import argparse

import posegen


class Printer:
    """Prints each line and each finished task; any object with these two methods will do."""

    def update(self, task: str, done: int, total: int) -> None:
        if done == total:
            print(f"{task}: done")

    def say(self, line: str) -> None:
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("driving")
    parser.add_argument("output")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    try:
        result = posegen.generate(**vars(arguments), progress=Printer())
    except posegen.PosegenError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{result.output}: {result.num_frames} frames of {result.size[0]}x{result.size[1]} pixels")


if __name__ == "__main__":
    main()
