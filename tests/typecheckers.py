"""Checks argument types and shapes in tests at less than half the cost: the same checks, each of them once.

`--jaxtyping-packages` decorates every function of the package with jaxtyping, which binds the arguments anew at each
call, so that axes of one name have one length, and has beartype check them twice, for a better message. Here beartype
checks once, and alone where no annotation names a shape.
"""

import dataclasses
import functools
import inspect
import typing

import jaxtyping
from beartype import BeartypeConf

_jaxtyped = jaxtyping.jaxtyped
_RAISES = BeartypeConf(violation_type=TypeError)


def use_beartype_alone_where_no_shape_is_named() -> None:
    """Replace the decorator of jaxtyping's import hook; to be called before posegen is imported."""
    jaxtyping.jaxtyped = _checked


def _checked(function=None, *, typechecker):
    if function is None:
        return functools.partial(_checked, typechecker=typechecker)
    if inspect.isfunction(function) and any(isinstance(each, str) for each in function.__annotations__.values()):
        return _jaxtyped(function, typechecker=typechecker)  # names that are imported for type checkers only
    if _names_no_shape(function):
        return typechecker(function, conf=_RAISES)
    if dataclasses.is_dataclass(function) and _names_no_shape(vars(function).get("__init__")):
        function.__init__ = typechecker(function.__init__, conf=_RAISES)
        return function
    if inspect.isfunction(function) and not inspect.isgeneratorfunction(function):
        return _jaxtyped(typechecker(function, conf=_RAISES), typechecker=None)
    return _jaxtyped(function, typechecker=typechecker)


def _names_no_shape(function) -> bool:
    return inspect.isfunction(function) and not any(map(_may_name_a_shape, function.__annotations__.values()))


def _may_name_a_shape(annotation) -> bool:
    if isinstance(annotation, list | tuple):  # the arguments of a Callable
        return any(map(_may_name_a_shape, annotation))
    if isinstance(annotation, str | typing.TypeVar | typing.ForwardRef):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_may_name_a_shape, typing.get_args(annotation)))
