"""`posegen setup`: fetches the pose models and lists which extras are installed; it loads no model."""

from posegen.apps.terminal import Terminal
from posegen.conditions.estimators.task_files import build, default_folder
from posegen.extras import EXTRAS, missing_modules


def set_up() -> None:
    """Fetch what is missing, then print one line for the models and one for each extra."""
    folder = default_folder()
    with Terminal() as terminal:
        build(folder)
        terminal.say(f"pose models: {folder}")
        for extra in EXTRAS:
            missing = missing_modules(extra)
            state = f"not installed ({', '.join(missing)}): pip install 'posegen[{extra}]'" if missing else "installed"
            terminal.say(f"extra {extra}: {state}")
