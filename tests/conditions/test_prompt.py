"""Which tokens name the person."""

import pytest

from posegen.conditions.prompt import find_subject, subject_token_indices
from posegen.errors import PosegenError
from posegen.pipeline.mini import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def words(tokenizer, prompt, indices):
    encoded = tokenizer(prompt, return_offsets_mapping=True)
    return "".join(prompt[slice(*encoded["offset_mapping"][index])] for index in indices)


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("A woman dances.", "woman"),
        ("Realistic style. An old Man, waving.", "Man"),
        ("A manual for humans about a ballerina and her girl", "girl"),
        ("Anime: a fairy CHARACTER", "CHARACTER"),
        ("A video of the presenter at a desk", "presenter"),
    ],
)
def test_the_first_known_word_is_found_whole(tokenizer, prompt, word):
    assert prompt[slice(*find_subject(prompt))] == word
    assert words(tokenizer, prompt, subject_token_indices(tokenizer, prompt)).strip() == word


def test_the_users_word_wins_and_all_its_pieces_are_taken(tokenizer):
    prompt = "A woman and a flibbertigibbet on a stage"
    indices = subject_token_indices(tokenizer, prompt, "flibbertigibbet")
    assert len(indices) > 1
    assert words(tokenizer, prompt, indices) == "flibbertigibbet"


def test_no_word_is_an_error_that_says_what_to_do(tokenizer):
    with pytest.raises(PosegenError, match="--subject"):
        find_subject("A red house on a hill")
    with pytest.raises(PosegenError, match="'wizard' does not occur"):
        find_subject("A woman", "wizard")
    with pytest.raises(PosegenError, match="beyond the 5 tokens"):
        subject_token_indices(tokenizer, "Far away behind the hills in the evening stands a woman", max_length=5)
