"""Prompts from measured colours: painted figures of known colours, pictures of people, and the word for the person."""

import itertools

import numpy as np
import pytest
from skimage import data

from posegen.conditions.body_parts import PARTS, part_regions
from posegen.conditions.colours import CLOTHES, HAIR, main_colours, name_colour
from posegen.conditions.keypoints import INDEX
from posegen.conditions.prompt_template import describe_reference, with_subject
from posegen.conditions.reference_person import find_reference_people
from posegen.conditions.subject_words import find_subjects
from posegen.media.image import read_image

SIZE = (320, 200)
STANDING = {
    "nose": (0.5, 0.16), "shoulder": (0.13, 0.28), "elbow": (0.17, 0.4), "wrist": (0.18, 0.5), "hip": (0.08, 0.53),
    "knee": (0.08, 0.72), "ankle": (0.08, 0.92), "ear": (0.04, 0.15), "eye": (0.02, 0.145),
}  # fmt: skip


def figure(colours):
    """A figure of flat colours by part in a room of one colour, and its keypoints."""
    keypoints, scores = np.zeros((133, 2)), np.zeros(133)
    for name, (aside, down) in STANDING.items():
        for sign, side in ((1, "left_"), (-1, "right_")):
            index = INDEX.get(side + name, INDEX["nose"])
            keypoints[index] = (0.5 + sign * aside) * SIZE[1], down * SIZE[0]
            scores[index] = 0.9
    keypoints[INDEX["nose"], 0] = SIZE[1] / 2
    image = np.broadcast_to(np.array(colours["background"], np.uint8), (*SIZE, 3)).copy()
    for part, region in part_regions(keypoints, scores, SIZE).items():
        image[region] = colours.get(part, colours["face"])
    return image, keypoints, scores


FACE = (224, 180, 150)


@pytest.mark.parametrize(("top", "bottom"), list(itertools.pairwise(name for name in CLOTHES if name != "beige")))
def test_clothes_have_the_colours_that_were_painted(top, bottom):
    image, keypoints, scores = figure(
        {"face": FACE, "hair": HAIR["black"], "torso": CLOTHES[top], "thighs": CLOTHES[bottom],
         "background": CLOTHES["teal"]}
    )  # fmt: skip
    prompt = describe_reference(image, keypoints, scores, "full-body", "woman")
    assert f" {top} top and {bottom} bottoms." in prompt
    assert prompt.startswith("A realistic video of a woman with black hair, wearing a")
    assert "The background is mostly teal" in prompt
    assert prompt.endswith("Full-body shot, static camera.")
    assert find_subjects(prompt)


def test_bare_arms_and_what_is_not_seen_are_left_out():
    image, keypoints, scores = figure({"face": FACE, "background": (20, 20, 20)})
    scores[[index for name, index in INDEX.items() if "knee" in name or "ankle" in name]] = 0
    prompt = describe_reference(image, keypoints, scores, "half-body")
    assert prompt.startswith("A realistic video of a person. The background is mostly black, and steady.")
    nobody = describe_reference(image, keypoints, np.zeros(133), "half-body")
    assert nobody.startswith("A realistic video of a person. The background")


@pytest.mark.parametrize("names", [CLOTHES, HAIR])
def test_each_colour_has_its_own_name(names):
    assert [name_colour(np.array(value, float), names) for value in names.values()] == list(names)


def test_the_most_frequent_colour_comes_first_and_always():
    random = np.random.default_rng(0)
    pixels = np.concatenate([np.tile([[200, 30, 30]], (700, 1)), np.tile([[20, 20, 200]], (300, 1))]).astype(np.uint8)
    pixels = random.permutation(pixels)
    first, second = main_colours(pixels, 2)
    assert np.allclose(first, (200, 30, 30))
    assert np.allclose(second, (20, 20, 200))
    assert len(main_colours(pixels[:1], 3)) == 1
    assert main_colours(pixels[:0]) == []


def test_people_are_described(media):
    man, astronaut = read_image(media / "man.png"), data.astronaut()
    for image, words in ((man, ("white hair", "blue top", "green bottoms")), (astronaut, ("orange top",))):
        person = find_reference_people(image).chosen
        prompt = describe_reference(
            image, person.keypoints.astype(np.float64), person.scores.astype(np.float64), "half-body"
        )
        assert all(word in prompt for word in words), prompt
        assert find_subjects(prompt)


@pytest.mark.parametrize(
    ("prompt", "subject", "expected"),
    [
        ("A dancer on a stage.", None, "A dancer on a stage."),
        ("A stage.", None, "A stage. The main subject is a person."),
        ("A dancer on a stage.", "elf", "A dancer on a stage. The main subject is an elf."),
        ("An elf.", "elf, robot", "An elf. The main subject is a robot."),
    ],
)
def test_the_prompt_names_the_person(prompt, subject, expected):
    assert with_subject(prompt, subject) == expected


def test_parts_are_those_of_the_descriptor():
    image, keypoints, scores = figure({"face": FACE, "background": (0, 0, 0)})
    assert set(part_regions(keypoints, scores, image.shape[:2])) == set(PARTS)
