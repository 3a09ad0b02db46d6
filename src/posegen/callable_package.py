"""Makes packages callable: `posegen.generate` is the package of that name and the function that makes a video.

The package is imported by other files, the function is called by users of the Python API. A module's class may be
changed (PEP 726 and the data model, "customizing module attribute access"), so that one object can be both.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from posegen.library_imports import imported_for_good


def call_with(package: str, target: str) -> None:
    """Make the imported module `package` callable: a call is passed to `target`, written as "module:function"."""
    home, _, name = target.partition(":")

    def function() -> Any:
        with imported_for_good():
            return getattr(importlib.import_module(home), name)

    class CallablePackage(ModuleType):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            """Call the function of the same name."""
            return function()(*arguments, **options)

        @property
        def __signature__(self) -> Any:
            import inspect

            return inspect.signature(function())

        @property
        def __wrapped__(self) -> Any:
            return function()

    sys.modules[package].__class__ = CallablePackage
