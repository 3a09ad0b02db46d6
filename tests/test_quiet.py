"""Loading a model from Python prints nothing, and leaves the libraries as talkative as they were."""

import logging

import pytest
import torch

from posegen.quiet import quiet_libraries


@pytest.fixture
def libraries():
    import diffusers.utils.logging as of_diffusers
    import transformers.utils.logging as of_transformers

    both = (of_diffusers, of_transformers)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in both]
    for library in both:
        library.set_verbosity(logging.INFO)
        library.enable_progress_bar()
    yield both
    for library, (verbosity, bars) in zip(both, before, strict=True):
        library.set_verbosity(verbosity)
        (library.enable_progress_bar if bars else library.disable_progress_bar)()


def test_loading_a_model_prints_nothing(libraries, narrow, capfd):
    from posegen.model.sources import load_pipeline

    load_pipeline(narrow, torch.device("cpu"), torch.float32)
    assert capfd.readouterr() == ("", "")
    for library in libraries:
        assert library.get_verbosity() == logging.INFO
        assert library.is_progress_bar_enabled()


def test_libraries_talk_again_after_an_error(libraries):
    def fail():
        for library in libraries:
            assert library.get_verbosity() == logging.ERROR
            assert not library.is_progress_bar_enabled()
        raise KeyError

    with pytest.raises(KeyError), quiet_libraries():
        fail()
    assert [library.get_verbosity() for library in libraries] == [logging.INFO] * 2
