"""Look ahead in seconds, and make the video only if nothing is wrong with the inputs.

python examples/preview_first.py person.png dance.mp4 out.mp4 [MODEL]
"""

import sys

import posegen


def main() -> None:
    reference, driving, output = sys.argv[1:4]
    model = sys.argv[4] if len(sys.argv) > 4 else "mini"
    ahead = posegen.preview(reference, driving, output, model=model)
    print(f"look at {ahead.picture} and {ahead.video}")
    for line in ahead.warnings:
        print(f"warning: {line}")
    if ahead.warnings:
        raise SystemExit("nothing is generated; change the inputs, or call posegen.generate all the same")
    print(f"wrote {posegen.generate(reference, driving, output, model=model).output}")


if __name__ == "__main__":
    main()
