"""`posegen study` and `posegen screen`: local pages, served until they are interrupted."""

from posegen.apps.terminal import Terminal
from posegen.config import ScreenConfig, StudyConfig


def serve_study(config: StudyConfig) -> None:
    """Serve the page of a user study, or write its results."""
    from posegen.serve.rating_study import study

    with Terminal() as terminal:
        study(config, terminal)


def serve_screening(config: ScreenConfig) -> None:
    """Serve the page on which prepared clips are kept or dropped."""
    from posegen.serve.screening import screen

    with Terminal() as terminal:
        screen(config, terminal)
