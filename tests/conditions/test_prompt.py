"""Which tokens name the person: with the mini's byte-level tokenizer and with a Unigram one, as UMT5's is."""

import io
import logging
import unicodedata

import pytest
import sentencepiece
from transformers import T5TokenizerFast

from posegen.conditions.subject_words import SUBJECT_PLURALS, SUBJECT_WORDS, find_subjects, subject_token_indices
from posegen.errors import PosegenError
from posegen.model.mini import build_tokenizer

CORPUS = [
    "A woman dances on a stage, and the man at the door watches.",
    "Ein Mädchen läuft über die Straße; schöne Bäume grünen.",
    "一个女人在跳舞。一个男人在唱歌。舞台很亮。",
    "Realistic style: an old man (with a hat) stands. The camera does not move.",
    "People in the background sing, the dancer's dress is red.",
]


def unigram_tokenizer():
    """A sentencepiece Unigram model, trained here, in the class that reads UMT5's."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20), model_writer=written, model_type="unigram", vocab_size=150,
        hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, num_threads=1,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    vocabulary = [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]
    return T5TokenizerFast(vocab=vocabulary, extra_ids=0)


@pytest.fixture(scope="module", params=["byte-level", "unigram"])
def tokenizer(request):
    return build_tokenizer() if request.param == "byte-level" else unigram_tokenizer()


def named(prompt, subject=None):
    return [prompt[start:stop] for start, stop in find_subjects(prompt, subject)]


def read_back(tokenizer, prompt, indices):
    """The text under the tokens, each character once."""
    offsets = tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    places = sorted({place for index in indices for place in range(*offsets[index])})
    return "".join(prompt[place] for place in places).strip()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("A woman dances.", ["woman"]),
        ("Realistic style. An old Man, waving.", ["Man"]),
        ("A manual for humanoids about a Batman costume and her girl", ["girl"]),
        ("Anime: a fairy CHARACTER!", ["fairy", "CHARACTER"]),
        ("The woman (a dancer) turns; the woman's hat falls.", ["woman", "dancer", "woman"]),
        ("A woman in a figure-hugging dress, a man-made lake", ["woman"]),
        ("A business-woman", ["woman"]),
        ("A singer on a stage, people watch her", ["singer"]),
        ("Two dancers; people watch", ["dancers", "people"]),
        ("“Frau Müller”, eine Person – schön", ["Person"]),
        ("一个女人在跳舞，女人穿红裙。", ["女人", "女人"]),
        ("视频：a girl在跳舞", ["girl"]),
    ],
)
def test_every_mention_is_found_whole(tokenizer, prompt, words):
    assert named(prompt) == words
    indices = subject_token_indices(tokenizer, prompt)
    assert indices == sorted(set(indices))
    found = read_back(tokenizer, prompt, indices)
    # a piece may reach over the end of a word; it may not miss any of it
    assert all(word in found for word in words)
    assert len(found) <= sum(map(len, words)) + 2 * len(words)


@pytest.mark.parametrize("word", [*SUBJECT_WORDS, *SUBJECT_PLURALS])
def test_each_noun_counts_in_any_case(word):
    for written in (word, word.capitalize(), word.upper()):
        assert named(f"Here: {written}, waving") == [written]
        assert not_found(f"x{written} {written}x {written}-like")


def not_found(prompt):
    with pytest.raises(PosegenError, match="does not name the person"):
        find_subjects(prompt)
    return True


def test_the_users_word_wins_and_all_its_pieces_are_taken(tokenizer):
    prompt = "A woman and a flibbertigibbet on a stage, flibbertigibbets elsewhere"
    indices = subject_token_indices(tokenizer, prompt, "flibbertigibbet")
    assert len(indices) > 2
    assert read_back(tokenizer, prompt, indices) == "flibbertigibbet"


@pytest.mark.parametrize(
    ("prompt", "subject", "words"),
    [
        ("The  Little\nRed hero and a little red house", "little red hero", ["Little\nRed hero"]),
        ("Miku sings, a Miku doll, Mikumiku", "miku", ["Miku", "Miku"]),
        ("Miku sings beside Rin", "Rin, Miku", ["Miku", "Rin"]),
        ("初音ミクが踊る", "初音ミク", ["初音ミク"]),
        ("Das Mädchen tanzt", "mädchen", ["Mädchen"]),
        ("A man (R2-D2)", "(R2-D2)", ["(R2-D2)"]),
    ],
)
def test_the_users_subject_may_be_a_phrase_or_several(tokenizer, prompt, subject, words):
    assert named(prompt, subject) == words
    found = read_back(tokenizer, prompt, subject_token_indices(tokenizer, prompt, subject))
    assert all(part in found for word in words for part in word.split())


def test_accents_count_however_they_are_encoded():
    for prompt_form in ("NFC", "NFD"):
        for subject_form in ("NFC", "NFD"):
            prompt = unicodedata.normalize(prompt_form, "Ein Mädchen tanzt, ein André auch")
            words = [unicodedata.normalize(prompt_form, word) for word in ("Mädchen", "André")]
            assert named(prompt, unicodedata.normalize(subject_form, "Mädchen, André")) == words
    with pytest.raises(PosegenError, match="does not occur"):
        find_subjects(unicodedata.normalize("NFD", "Ein André"), "Andre")


def test_no_mention_is_an_error_that_says_what_to_do():
    with pytest.raises(PosegenError, match="subject"):
        find_subjects("A red house on a hill")
    with pytest.raises(PosegenError, match="'wizard' does not occur in the prompt: use a word"):
        find_subjects("A woman", "wizard")
    with pytest.raises(PosegenError, match="'wizard' does not occur"):
        find_subjects("A woman", "woman, wizard")
    with pytest.raises(PosegenError, match="subject is empty"):
        find_subjects("A woman", " , ")


def test_what_the_model_does_not_read_is_an_error_or_a_warning(tokenizer, caplog):
    far = "Far away behind the hills in the evening stands a woman"
    with pytest.raises(PosegenError, match="'woman' lies beyond the 5 tokens"):
        subject_token_indices(tokenizer, far, max_length=5)
    assert not caplog.records
    prompt = "A woman is there. " + "The camera does not move. " * 30 + "The dancer sings."
    with caplog.at_level(logging.WARNING, "posegen"):
        indices = subject_token_indices(tokenizer, prompt, max_length=40)
    assert read_back(tokenizer, prompt, indices) == "woman"
    assert "'dancer' at its end is not seen" in caplog.text
    assert sum(record.name == "posegen" for record in caplog.records) == 1


def test_a_tokenizer_without_offsets_is_refused_in_one_line():
    class Slow:
        is_fast = False

    with pytest.raises(PosegenError, match=r"Slow.*sharing off"):
        subject_token_indices(Slow(), "A woman")
