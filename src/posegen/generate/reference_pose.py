"""The person of the reference image, looked for once, and the image at the size of the result, cropped to keep them.

Prompt, crop, framing and retargeting all need the person; each asks the same `ReferencePose`, and where none asks, no
estimator is loaded.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from posegen.conditions.extraction import fit_pose
from posegen.conditions.keypoints import PersonPose
from posegen.conditions.reference_person import NO_PEOPLE, ReferencePeople, find_reference_people
from posegen.conditions.subject_box import find_subject_box
from posegen.config import EstimatorConfig, FitMode, GenerateConfig, PersonChoice, parse_person
from posegen.errors import PosegenError
from posegen.media.fitting import Fit, plan_fit
from posegen.progress import Progress
from posegen.types import Image, Size

_AROUND = 0.15
"""Of the longer side of the box about a person's points: hair and hands reach farther than they do."""


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
    box = _subject_box(reference.source, pose.person, config)
    if box is None and config.person_check:
        raise PosegenError(
            "no person is found in the reference image: use a picture that shows one clearly, or pass "
            "--no-person-check to go on anyway"
        )
    reference = _with_person(reference, pose.found, box)
    if reference.fit.centre != (0.5, 0.5):
        progress.say("reference: cropped about the person, not about its middle")
    return reference


def show_person(reference: FittedReference, pose: ReferencePose, config: GenerateConfig) -> FittedReference:
    """Find the person to show them, whatever the settings want; the crop is that of `look_at_reference`."""
    box = _subject_box(reference.source, pose.person, config) if _is_looked_for(config) else None
    return _with_person(reference, pose.found, box)


def _is_looked_for(config: GenerateConfig) -> bool:
    """Tell whether anybody needs to know where the person of the reference image is."""
    return config.retarget != "off" or config.person_check


def _subject_box(
    image: Image, person: PersonPose | None, config: GenerateConfig
) -> tuple[float, float, float, float] | None:
    """Box (left, top, right, bottom; pixels) about the person, or about what stands out if that is wanted."""
    if person is None:
        return None if config.retarget == "off" else find_subject_box(image)
    left, top, right, bottom = person.box
    more = _AROUND * max(right - left, bottom - top)
    return left - more, top - more, right + more, bottom + more


def _with_person(
    reference: FittedReference, found: ReferencePeople, box: tuple[float, float, float, float] | None
) -> FittedReference:
    fit = reference.fit if box is None else reference.fit.keeping(box)
    person = None if found.chosen is None else fit_pose(found.chosen, fit)
    return replace(reference, fit=fit, person=person, found=found)
