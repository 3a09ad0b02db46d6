"""Finds the person in the reference image, once, and fits the image to the result so that the person stays in it.

Prompt, crop, framing and retargeting all need the person; each asks the same `ReferencePose`, and where none asks, no
estimator is loaded.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from posegen.conditions.extraction import fit_pose
from posegen.conditions.keypoints import PersonPose
from posegen.conditions.person_in_frame import Box, important_boxes, parts_outside
from posegen.conditions.reference_person import NO_PEOPLE, ReferencePeople, find_reference_people
from posegen.conditions.subject_box import find_subject_box
from posegen.config import EstimatorConfig, FitMode, GenerateConfig, PersonChoice, parse_person
from posegen.errors import PosegenError
from posegen.media.fitting import Fit, choose_size, plan_fit
from posegen.progress import Progress
from posegen.types import Image, Size

_SIZE_MULTIPLE = 16
"""Sides of the size that is proposed for a reference of which a part is cut off are multiples of this."""


class ReferencePose:
    """The person of one image, found when somebody first asks."""

    def __init__(
        self, image: Image, estimators: EstimatorConfig, device: str, choice: PersonChoice = "largest"
    ) -> None:
        """Take the image, uint8 sRGB (H, W, 3), and which of its people is meant."""
        self.image, self._estimators, self._device, self._choice = image, estimators, device, choice

    @classmethod
    def of(cls, image: Image, config: GenerateConfig) -> "ReferencePose":
        """Take estimators and choice from the settings of a job."""
        return cls(image, config, config.device, parse_person(config.reference_person, "--reference-person"))

    @cached_property
    def found(self) -> ReferencePeople:
        """The people, in pixels of the image. Raises `PosegenError`: no weights, or a choice that nobody fits."""
        return find_reference_people(self.image, self._estimators, self._device, self._choice)

    @property
    def person(self) -> PersonPose | None:
        """The chosen person, in pixels of the image; None if nobody is seen. Raises `PosegenError` like `found`."""
        return self.found.chosen


@dataclass(frozen=True, eq=False)
class FittedReference:
    """The reference image for a result of one size.

    source: the whole image. fit: how it becomes a picture of the result's size. person: in pixels of that picture; None
    if nobody is seen, or nobody needs to know. found: everybody who is seen in the whole image, in its pixels.
    """

    source: Image
    fit: Fit
    person: PersonPose | None = None
    found: ReferencePeople = NO_PEOPLE

    @cached_property
    def image(self) -> Image:
        """The picture at the result's size: uint8 (H, W, 3)."""
        return self.fit.apply(self.source)


def fit_reference(image: Image, size: Size, mode: FitMode) -> FittedReference:
    """The image at `size` (height, width), cropped about its middle or padded."""
    return FittedReference(image, plan_fit(image.shape[:2], size, mode))


def look_at_reference(
    reference: FittedReference, pose: ReferencePose, config: GenerateConfig, progress: Progress
) -> FittedReference:
    """Find the person of the reference image, and crop it about them.

    It stays as it is where nobody needs to know. Raises `PosegenError` if neither a person nor a figure of another kind
    is found and the settings want somebody.
    """
    if not _is_looked_for(config):
        return reference
    boxes = _subject_boxes(reference.source, pose.person, config)
    if not boxes and config.person_check:
        raise PosegenError(
            "no person is found in the reference image: use a picture that shows one clearly, or pass "
            "--no-person-check to go on anyway"
        )
    reference = _with_person(reference, pose.found, boxes)
    if reference.fit.centre != (0.5, 0.5):
        progress.say("reference: cropped about the person, not about its middle")
    for line in describe_cut_off(reference):
        progress.say(line)
    return reference


def show_person(reference: FittedReference, pose: ReferencePose, config: GenerateConfig) -> FittedReference:
    """Find the person to show them, whatever the settings want; the crop is that of `look_at_reference`."""
    boxes = _subject_boxes(reference.source, pose.person, config) if _is_looked_for(config) else []
    return _with_person(reference, pose.found, boxes)


def describe_cut_off(reference: FittedReference) -> list[str]:
    """Return a line that names the parts of the person that the crop cuts off; none if there are none."""
    fit = reference.fit
    parts = [] if reference.person is None else parts_outside(reference.person, fit.target)
    if not parts or fit.mode == "pad":
        return []
    height, width = choose_size(fit.source, fit.target[0] * fit.target[1], _SIZE_MULTIPLE)
    named = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    return [f"the reference's {named} are cut off: --fit pad or --size {height}x{width} shows them"]


def _is_looked_for(config: GenerateConfig) -> bool:
    """Tell whether anybody needs to know where the person of the reference image is."""
    return config.retarget != "off" or config.person_check


def _subject_boxes(image: Image, person: PersonPose | None, config: GenerateConfig) -> list[Box]:
    """Boxes about the person, the most important part first, or about what stands out if that is wanted."""
    if person is not None:
        return important_boxes(person)
    box = None if config.retarget == "off" else find_subject_box(image)
    return [] if box is None else [box]


def _with_person(reference: FittedReference, found: ReferencePeople, boxes: list[Box]) -> FittedReference:
    fit = reference.fit.keeping(*boxes)
    person = None if found.chosen is None else fit_pose(found.chosen, fit)
    return replace(reference, fit=fit, person=person, found=found)
