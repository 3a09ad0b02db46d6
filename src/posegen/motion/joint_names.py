"""Finds out which keypoint of COCO-WholeBody a joint is, by its name: never by its number or its place in a list.

Known are the names of pose estimators (`estimators/layouts.py`), and those of skeletons: HumanIK and Mixamo, CMU,
Biovision, 3ds Max Biped, Unreal, Unity and VRM, Blender's Rigify, MakeHuman, Daz, SMPL, Xsens, Perception Neuron, and
joint centres of gait laboratories. The same word can mean two joints (a "shoulder" is the collar bone where there is an
"arm" too), so all names of a file are looked at together.
"""

import re
from collections.abc import Sequence

from posegen.conditions.estimators.layouts import WHOLEBODY_NAMES, wholebody_name
from posegen.conditions.keypoints import BODY_NAMES
from posegen.errors import PosegenError

SIDES = ("left", "right")
_SIDE_WORDS = {
    "left": "left", "l": "left", "lft": "left", "lf": "left", "lt": "left",
    "right": "right", "r": "right", "rgt": "right", "rt": "right", "rght": "right",
}  # fmt: skip  # a table, read in rows
_PREFIXES = {
    "mixamorig", "bip", "biped", "character", "bone", "bn", "jnt", "def", "org", "cc", "base", "j", "c", "m", "avg",
    "sec", "rig", "armature", "valvebiped", "normalized", "joint", "body", "mediapipe",
}  # fmt: skip  # a list, read in rows
"""First words that say nothing of the joint; a number after them belongs to them."""
_SUFFIXES = {"study", "joint", "jnt", "bone"}
"""Words that say nothing wherever they are."""
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_GLUED = re.compile(
    r"(left|right|l|r)(shoulder|shldr|shldrbend|sho|elbow|elb|wrist|wri|hip|hipjoint|knee|kne|ankle|ank|hand|foot|toe|toes|"
    r"thigh|shin|calf|arm|forearm|uparm|upperarm|lowerarm|upleg|upperleg|lowerleg|leg|heel|eye|ear|collar|clavicle|hee|"
    r"acromion|hjc|kjc|ajc|sjc|ejc|wjc|femur|tibia|humerus|radius)\Z"
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "shoulder": ("upperarm", "uparm", "upperarm1", "shldrbend", "shldr", "arm", "armupper", "glenohumeral", "sjc",
                 "shoulderjoint", "sho", "acromion", "shoulder"),
    "elbow": ("elbow", "forearm", "lowerarm", "lowerarm1", "forearmbend", "forearm1", "loarm", "armlower", "elb", "ejc",
              "elbowjoint"),
    "wrist": ("wrist", "hand", "wri", "wjc", "wristjoint", "handwrist"),
    "hip": ("upleg", "upperleg", "upperleg1", "thigh", "thighbend", "thigh1", "legupper", "hjc", "hip", "hipjoint"),
    "knee": ("knee", "lowerleg", "lowerleg1", "lowleg", "shin", "calf", "shank", "leglower", "kne", "kjc", "kneejoint",
             "leg"),
    "ankle": ("ankle", "ank", "ajc", "anklejoint", "foot"),
    "heel": ("heel", "hee", "calc", "calcaneus"),
    "big_toe": ("bigtoe", "toebaseend", "toeend", "toesend", "ballend", "toetip", "ankleend", "footend", "footindex",
                "halluxtip", "hallux"),
    "small_toe": ("smalltoe", "littletoe", "pinkytoe"),
    "eye": ("eye",),
    "ear": ("ear",),
}  # fmt: skip  # a table, read in rows
"""Words for each point with two sides, the surest first."""
_TOES = ("toebase", "toe", "toes", "ball", "toe0", "toe1", "toe11", "foot")
"""Words for the joint at the ball of the foot. A foot is one where the ankle has a name of its own."""
_MIDDLE: dict[str, tuple[str, ...]] = {
    "nose": ("nose", "noz"),
    "head": ("head", "headjoint", "skull"),
    "head_top": (
        "headtopend",
        "headend",
        "headtop",
        "topofhead",
        "headnub",
        "vertex",
        "htop",
        "topend",
        "headtopendend",
    ),
    "neck": ("neck", "neck1", "necklower", "neckbase", "lowerneck", "upperneck", "neckupper", "neck2", "cervical"),
    "hips": ("hips", "pelvis", "hip", "hipcenter", "hipscenter", "midhip", "middlehip", "root"),
}
_FINGERS = {"thumb": 0, "index": 1, "indexfinger": 1, "forefinger": 1, "pointer": 1, "middle": 2, "mid": 2,
            "middlefinger": 2, "ring": 3, "ringfinger": 3, "pinky": 4, "pinkie": 4, "pinkyfinger": 4, "little": 4,
            "littlefinger": 4}  # fmt: skip  # a table, read in rows
_FINGER = re.compile(
    r"(?:f|hand|in)*(thumb|index|forefinger|pointer|middle|mid|ring|pinky|pinkie|little)(?:finger)?"
    r"(metacarpal|proximal|intermediate|distal|cmc|mcp|pip|dip|ip|tip|end|nub|\d{1,2})?(end|nub|tip)?\Z"
)
_SEGMENTS = {"metacarpal": 1, "proximal": 1, "intermediate": 2, "distal": 3}
_JOINTS = {"mcp": 1, "pip": 2, "dip": 3, "tip": 4, "end": 4, "nub": 4}
_THUMB_JOINTS = {"cmc": 1, "mcp": 2, "ip": 3, "tip": 4, "end": 4, "nub": 4}
NEEDED = 4
"""Minimum number of a body's twelve joints (shoulders to ankles) that a file must name."""
_MAIN = BODY_NAMES[5:17]


def read_name(name: str) -> tuple[str, str]:
    """Return the side ("left", "right" or "") that a name says, and what it says of the joint, in small letters."""
    text = name.rpartition(":")[2].rpartition("|")[2]
    words = [word.lower() for word in _WORDS.findall(text)]
    while len(words) > 1 and words[0] in _PREFIXES:
        del words[0]
        while len(words) > 1 and words[0].isdigit():
            del words[0]
    if len(words) == 1 and (glued := _GLUED.match(words[0])):
        words = [glued[1], glued[2]]
    elif words and (glued := _GLUED.match(words[0])) and len(glued[1]) > 1:
        words[:1] = [glued[1], glued[2]]
    sides = [_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS]
    rest = [str(int(word)) if word.isdigit() else word for word in words if word not in _SIDE_WORDS]
    if len(set(sides)) > 1:
        return "", ""
    rest = [word for word in rest if word not in _SUFFIXES] or rest
    return (sides[0] if sides else ""), _numbered_finger(rest) or "".join(rest)


def _numbered_finger(words: Sequence[str]) -> str:
    """Return a plain name for fingers that are numbered: MakeHuman's finger1-1, Biped's Finger01; "" for others."""
    fingers = ("thumb", "index", "middle", "ring", "pinky")
    match list(words):
        case ["finger", finger, joint] if finger in "12345" and joint.isdigit():
            return f"{fingers[int(finger) - 1]}{joint}"
        case ["finger", digits, *end] if digits.isdigit() and len(digits) <= 2 and end in ([], ["nub"], ["end"]):
            # int() has taken a leading 0 away: 1 is Finger01 or Finger1, which Biped's order of names cannot tell apart
            return ""
    return ""


def _biped_fingers(names: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Return side and plain name of Biped's fingers: Finger0 is the thumb, Finger01 its second joint."""
    found = {}
    fingers = ("thumb", "index", "middle", "ring", "pinky")
    for number, name in enumerate(names):
        if one := re.search(r"\b([LR])[ _]Finger([0-4])([12]?)(Nub|End)?\Z", name.replace("_", " ")):
            joint = "end" if one[4] else str(int(one[3] or 0) + 1)
            found[number] = ("left" if one[1] == "L" else "right", f"{fingers[int(one[2])]}{joint}")
    return found


def keypoint_sources(names: Sequence[str]) -> dict[str, int]:
    """Return the index of the joint that each keypoint of COCO-WholeBody is, for those that the names have.

    Beside the 133 names there are `head`, `head_top`, `neck`, `hips`, and `left_toe`, `right_toe` (the ball of the
    foot), from which others can be computed.
    """
    found: dict[str, int] = {}
    biped = _biped_fingers(names)
    said: dict[tuple[str, str], int] = {}
    for index, name in enumerate(names):
        said.setdefault(biped.get(index) or read_name(name), index)
    for side in SIDES:
        _limbs_of(side, said, found)
        _hand_of(side, said, found)
    for point, choices in _MIDDLE.items():
        for word in choices:
            if ("", word) in said:
                found.setdefault(point, said["", word])
    for index, name in enumerate(names):  # names of pose estimators, which the rest may not know
        known = wholebody_name(name)
        if known is not None and known not in found and known in WHOLEBODY_NAMES and not _is_rig_word(name):
            found[known] = index
    for side in SIDES:  # a hand's root is the wrist
        if (side, "handwrist") in said:
            found[f"{side}_hand_0"] = said[side, "handwrist"]
        if f"{side}_wrist" in found and any(f"{side}_hand_{joint}" in found for joint in range(1, 21)):
            found.setdefault(f"{side}_hand_0", found[f"{side}_wrist"])
        elif f"{side}_hand_0" in found:
            found.setdefault(f"{side}_wrist", found[f"{side}_hand_0"])
    return found


def _is_rig_word(name: str) -> bool:
    """Return True for words that mean another joint in a skeleton than in a list of keypoints."""
    side, part = read_name(name)
    return bool(side) and part in ("shoulder", "hip", "foot", "hand", "leg", "arm")


def _limbs_of(side: str, said: dict[tuple[str, str], int], found: dict[str, int]) -> None:
    taken: set[int] = set()
    for point, choices in _CHOICES.items():
        for word in choices:
            index = said.get((side, word))
            if index is not None and index not in taken:
                if point == "ankle" and word == "foot" and f"{side}_ankle" in found:
                    continue
                found[f"{side}_{point}"] = index
                taken.add(index)
                break
    for word in _TOES:
        index = said.get((side, word))
        if index is not None and index not in taken:
            found[f"{side}_toe"] = index
            break


def _hand_of(side: str, said: dict[tuple[str, str], int], found: dict[str, int]) -> None:
    """Add the joints of a hand: 4 for each finger, from the palm to the tip."""
    given = [(match, index) for (of, part), index in said.items() if of == side and (match := _FINGER.match(part))]
    has_metacarpal = any(match[2] == "metacarpal" and match[1] == "thumb" for match, _ in given)
    for match, index in given:
        finger, joint = _FINGERS[match[1]], _joint_of(match, has_metacarpal)
        if joint is not None:
            found.setdefault(f"{side}_hand_{4 * finger + joint}", index)


def _joint_of(match: re.Match[str], has_metacarpal: bool) -> int | None:
    """Return the number of a finger's joint, 1 to 4; None for bones inside the palm and further joints."""
    is_thumb, which = match[1] == "thumb", match[2] or ""
    if match[3]:
        return 4
    if which.isdigit():
        return int(which) if 1 <= int(which) <= 4 else None
    if which in _SEGMENTS:
        if is_thumb:
            return _SEGMENTS[which] + (has_metacarpal and which != "metacarpal")
        return None if which == "metacarpal" else _SEGMENTS[which]
    return (_THUMB_JOINTS if is_thumb else _JOINTS).get(which)


def check_names(sources: dict[str, int], names: Sequence[str], where: str) -> None:
    """Raise `PosegenError` unless the names are those of a body: shoulders, and some of arms and legs."""
    main = [name for name in _MAIN if name in sources]
    if len(main) >= NEEDED and ("left_shoulder" in sources or "right_shoulder" in sources):
        return
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    known = f"only {', '.join(main)} of a body are known" if main else "none of them is a joint of a body"
    raise PosegenError(
        f"{where}: its {len(names)} points are named {shown:.200}: {known}; shoulders, elbows, hips and knees "
        "with their side were expected (left_shoulder, LeftArm, upperarm_l ...): rename them where the file was made"
    )
