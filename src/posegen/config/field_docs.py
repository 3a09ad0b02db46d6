"""Documentation of settings at run time: the text below each field of a settings class, read from its source."""

import ast
import inspect
import itertools
import textwrap
from functools import cache
from typing import Any


@cache
def field_docs(kind: Any) -> dict[str, str]:
    """Return the documentation of each field of a settings class, inherited ones included, as one line each."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not hasattr(each, "__dataclass_fields__"):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                words = text.value.value if isinstance(text.value, ast.Constant) else ""
                found[field.target.id] = " ".join(str(words).split())
    return found
