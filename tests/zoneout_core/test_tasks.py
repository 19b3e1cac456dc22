"""What tasks promise besides what `zoneout_core.conformance` asks of every one: their files, and the
two corpora of characters in particular."""

import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from zoneout_core import tasks
from zoneout_core.conformance.test_tasks import check_data, text
from zoneout_core.errors import ConfigError, DataError, UnknownName
from zoneout_core.tasks import _text, char_ptb, char_pydoc

EVERY = [(name, variant) for name in tasks.names() for variant in tasks.get(name).variants]
CARRIED = [pair for pair in EVERY if not tasks.get(pair[0]).files]
FROM_FILES = [pair for pair in EVERY if tasks.get(pair[0]).files]
COUNTS = {
    ("char_ptb", "446k"): [5_059_550, 396_412, 446_184],
    ("char_ptb", "442k"): [
        5_017_482,
        393_042,
        442_423,
    ],  # spec section 2.1 quotes files with one symbol more in each
    ("word_ptb", "10k"): [929_589, 73_760, 82_430],
    ("text8", "90-5-5"): [90_000_000, 5_000_000, 5_000_000],
} | {
    ("sequential_mnist", variant): [50_000, 10_000, 10_000]
    for variant in ("permuted", "permuted_code", "ordered")
}


def conforms(name: str, variant: str, folder: Path) -> None:
    data = check_data(name, variant, folder)
    if counts := COUNTS.get((name, variant)):
        assert [len(part) for part in (data.train, data.valid, data.test)] == counts


@pytest.mark.parametrize(("name", "variant"), CARRIED)
def test_a_task_without_files_loads_from_nothing(name: str, variant: str, tmp_path: Path) -> None:
    conforms(name, variant, tmp_path / "not there")


@pytest.mark.parametrize(("name", "variant"), FROM_FILES)
def test_a_task_with_files_loads_from_them_or_says_which_it_needs(
    name: str, variant: str, data_dir: Path
) -> None:
    lacking = [file for file in tasks.get(name).files if not (data_dir / file.path).exists()]
    if not lacking:
        conforms(name, variant, data_dir)
        return
    with pytest.raises(DataError) as error:
        tasks.load_data(name, variant, data_dir)
    listing = "\n".join(
        f"  {data_dir}/{file.path}: missing; expected {file.bytes:,} bytes, SHA-256 {file.sha256}"
        for file in lacking
    )
    assert str(error.value) == (
        f"Task {name} needs its data files whole and unchanged, but found\n{listing}\n"
        f"Fetch them with: sweep data fetch {name} --data {data_dir}"
    )


@pytest.mark.parametrize(
    "name", [name for name in tasks.names() if len(tasks.get(name).variants) > 1]
)
def test_variants_are_different_data_and_the_first_is_the_default(
    name: str, data_dir: Path
) -> None:
    variants = tasks.get(name).variants
    digests = [tasks.load_data(name, variant, data_dir).sha256 for variant in variants]
    assert len(set(digests)) == len(variants)
    default = tasks.load_data(name, "", data_dir)
    assert (default.variant, default.sha256) == (variants[0], digests[0])


def test_metadata_needs_neither_numpy_nor_torch() -> None:
    look = (
        "import sys; from zoneout_core import tasks; [tasks.get(name) for name in tasks.names()]; "
        "sys.exit(str({'numpy', 'torch'} & set(sys.modules)) if {'numpy', 'torch'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_names_say_what_exists(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as unknown_task:
        tasks.load_corpus("char_pbt", "", tmp_path)
    listing = ", ".join(tasks.names())
    assert str(unknown_task.value) == (
        f"There is no task named 'char_pbt'. Did you mean 'char_ptb'? What exists: {listing}."
    )
    with pytest.raises(UnknownName) as unknown_variant:
        tasks.load_corpus("char_ptb", "446", tmp_path)
    assert str(unknown_variant.value) == (
        "There is no variant of char_ptb named '446'. Did you mean '446k'? What exists: 442k, 446k."
    )


def test_files_are_checked_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "ptb").mkdir()
    (tmp_path / "ptb" / "ptb.train.txt").write_text(" a line \n")
    with pytest.raises(DataError, match=r"ptb\.train\.txt: truncated \(9 of 5,101,618 bytes\)"):
        tasks.load_corpus("char_ptb", "", tmp_path)


def test_fraction_keeps_the_first_share_of_train_alone(tmp_path: Path) -> None:
    whole = tasks.load_corpus("char_pydoc", "", tmp_path)
    part = whole.fraction(0.25)
    np.testing.assert_array_equal(part.train, whole.train[: len(whole.train) // 4])
    assert part.valid is whole.valid
    assert part.test is whole.test
    assert part.vocabulary == whole.vocabulary
    assert part.sha256 == whole.sha256
    np.testing.assert_array_equal(whole.fraction(1.0).train, whole.train)
    with pytest.raises(ConfigError) as error:
        whole.fraction(0.0)
    assert str(error.value) == (
        "train_fraction must be above 0 and at most 1, but is 0.0. Set it with --set train_fraction=VALUE."
    )


@pytest.mark.parametrize("variant", ["446k", "442k"])
def test_ptb_has_the_symbols_of_the_paper(variant: str, data_dir: Path) -> None:
    corpus = tasks.load_corpus("char_ptb", variant, data_dir)
    parts = [corpus.train, corpus.valid, corpus.test]
    assert [len(np.unique(part)) for part in parts] == [50, 50, 48]
    assert "".join(corpus.vocabulary) == "\n #$&'*-./0123456789<>N\\abcdefghijklmnopqrstuvwxyz"


def test_ptb_keeps_the_trailing_blank_only_in_446k(data_dir: Path) -> None:
    files = " no it was n't black monday \n but while the new york stock"
    assert (
        char_ptb.characters(files, "446k")
        == "no it was n't black monday \nbut while the new york stock"
    )
    assert (
        char_ptb.characters(files, "442k")
        == "no it was n't black monday\nbut while the new york stock"
    )
    assert text(tasks.load_corpus("char_ptb", "446k", data_dir), "test").startswith(
        "no it was n't black monday \nbut while"
    )


def test_the_digest_tells_any_change_of_symbols_order_or_cut() -> None:
    texts = [
        ("ab", "ab", "ab"),
        ("ac", "ac", "ac"),
        ("ba", "ab", "ab"),
        ("ab", "ab", "ba"),
        ("aba", "b", "ab"),
    ]
    digests = {_text.corpus("any", "any", *parts).sha256 for parts in texts}
    assert len(digests) == len(texts)


def test_pydoc_is_all_of_the_prose_cut_at_90_and_95_percent(tmp_path: Path) -> None:
    corpus = tasks.load_corpus("char_pydoc", "", tmp_path)
    prose = char_pydoc.prose(topics)
    assert text(corpus, "train") + text(corpus, "valid") + text(corpus, "test") == prose
    assert len(prose) > 200_000
    assert len(corpus.train) == len(prose) * 90 // 100
    assert abs(len(corpus.valid) - len(corpus.test)) <= 1


def test_pydoc_keeps_a_repeated_paragraph_once_and_sorts_the_topics() -> None:
    assert (
        char_pydoc.prose({"b": "shared\n\nsecond\n", "a": "first\n\n\nshared\n"})
        == "first\n\nshared\n\nsecond\n"
    )


def test_pydoc_replaces_the_rarest_symbols_beyond_a_byte() -> None:
    many = "".join(chr(0x100 + i) * (300 - i) for i in range(300))
    limited = char_pydoc.limit(many)
    assert len(limited) == len(many)
    assert len(set(limited)) == 256
    assert limited.startswith(chr(0x100) * 300)
    assert limited.endswith("\N{REPLACEMENT CHARACTER}" * sum(range(1, 46)))
    assert char_pydoc.limit("plain") == "plain"
