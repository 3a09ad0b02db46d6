"""Libraries are imported without the garbage collector, which is as it was afterwards."""

import gc
import importlib.machinery
import importlib.util
import sys

import pytest

from posegen.library_imports import imported_for_good


@pytest.fixture(autouse=True)
def as_before():
    yield
    gc.enable()


def test_nothing_is_collected_inside_and_what_was_imported_stays():
    before = gc.get_freeze_count()
    with imported_for_good():
        assert not gc.isenabled()
        sys.modules.pop("this_module_is_imported_once", None)
        sys.modules["this_module_is_imported_once"] = importlib.util.module_from_spec(
            importlib.machinery.ModuleSpec("this_module_is_imported_once", None)
        )
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    del sys.modules["this_module_is_imported_once"]


def test_without_an_import_nothing_becomes_permanent():
    before = gc.get_freeze_count()
    with imported_for_good():
        pass
    assert gc.get_freeze_count() == before


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_as_it_was_even_after_an_error(collects):
    (gc.enable if collects else gc.disable)()
    with pytest.raises(ZeroDivisionError), imported_for_good():
        raise ZeroDivisionError
    assert gc.isenabled() is collects
