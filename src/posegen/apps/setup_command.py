"""`posegen setup`: fetches the pose models and lists which extras are installed; it loads no model."""

from posegen.apps.terminal import Terminal
from posegen.conditions.estimators.heavy_pose import COMMAND, fetch_heavy, heavy_task_file
from posegen.conditions.estimators.task_files import build, default_folder
from posegen.extras import EXTRAS, missing_modules


def set_up(heavy_pose: bool = False) -> None:
    """Fetch what is missing, then print one line for each kind of models and one for each extra.

    heavy_pose: fetch the heavy pose model, too. Raises `PosegenError` if something cannot be fetched.
    """
    folder = default_folder()
    with Terminal() as terminal:
        build(folder)
        terminal.say(f"pose models: {folder}")
        for extra in EXTRAS:
            missing = missing_modules(extra)
            state = f"not installed ({', '.join(missing)}): pip install 'posegen[{extra}]'" if missing else "installed"
            terminal.say(f"extra {extra}: {state}")
        heavy = fetch_heavy() if heavy_pose else heavy_task_file()
        missing_heavy = f"not fetched, so the usual one looks again: `{COMMAND}` fetches it with npm (41 MB)"
        terminal.say(f"heavy pose model, for second looks: {heavy or missing_heavy}")
