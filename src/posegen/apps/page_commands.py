"""`posegen serve`, `posegen study` and `posegen screen`: servers that run until they are interrupted."""

from posegen.apps.terminal import Terminal
from posegen.config import ScreenConfig, ServeConfig, StudyConfig


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


def serve_jobs(config: ServeConfig) -> None:
    """Serve the page and the API of the job server."""
    from posegen.serve.job_server import serve

    with Terminal() as terminal:
        serve(config, terminal)
