"""A small BVH file of somebody who lifts an arm, for tests of commands that take motion."""

_LEGS = (("UpLeg", (9, -5, 0)), ("Leg", (0, -42, 1)), ("Foot", (0, -41, -1)), ("ToeBase", (0, -7, 13)))
_ARMS = (("Arm", (18, 22, 0)), ("ForeArm", (28, 0, 0)), ("Hand", (25, 0, 0)))


def write_bvh(path, frames=20, fps=24):
    """Write a skeleton with HumanIK's names, in centimetres, that faces +z."""
    lines = ["HIERARCHY", "ROOT Hips", "{", "OFFSET 0 95 0",
             "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"]  # fmt: skip
    moving = []

    def chain(side, sign, parts):
        for name, (x, y, z) in parts:
            lines.extend([f"JOINT {side}{name}", "{", f"OFFSET {sign * x} {y} {z}"])
            lines.append("CHANNELS 3 Zrotation Xrotation Yrotation")
            moving.append(f"{side}{name}")
        lines.extend(["End Site", "{", "OFFSET 0 0 5", "}", *["}"] * len(parts)])

    chain("Left", 1, _LEGS)
    chain("Right", -1, _LEGS)
    lines.extend(["JOINT Spine", "{", "OFFSET 0 28 0", "CHANNELS 3 Zrotation Xrotation Yrotation"])
    moving.append("Spine")
    chain("", 1, (("Head", (0, 35, 2)),))
    chain("Left", 1, _ARMS)
    chain("Right", -1, _ARMS)
    lines.extend(["}", "}", "MOTION", f"Frames: {frames}", f"Frame Time: {1 / fps:.6f}"])
    for frame in range(frames):
        turns = {"LeftArm": 60 * frame / frames, "RightArm": 70}
        row = [0, 95, 0, 0, 0, 0, *(value for name in moving for value in (turns.get(name, 0), 0, 0))]
        lines.append(" ".join(map(str, row)))
    path.write_text("\n".join(lines) + "\n")
    return path
