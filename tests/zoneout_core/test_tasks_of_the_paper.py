"""What is particular to the paper's other tasks: words, text8, digits, sums and programs."""

import hashlib
import io
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoneout_core import tasks
from zoneout_core.errors import ConfigError, DataError
from zoneout_core.tasks import _programs, sequential_mnist, text8, word_ptb
from zoneout_core.tasks.addition import Problems


def problems(variant: str) -> Problems:
    data = tasks.load_data("addition", variant, Path("not there"))
    assert isinstance(data, Problems)
    return data


def texts(data: Problems, ids: Any) -> list[str]:
    return ["".join(np.array(list(data.alphabet))[row]) for row in ids]


def test_words_end_their_lines_with_a_word() -> None:
    assert word_ptb.words(" no it was \n but N <unk> \n") == [
        "no",
        "it",
        "was",
        "<eos>",
        "but",
        "N",
        "<unk>",
        "<eos>",
    ]


def test_word_ptb_has_the_vocabulary_of_the_paper(data_dir: Path) -> None:
    corpus = tasks.load_data("word_ptb", "", data_dir)
    assert len(corpus.vocabulary) == 10_000
    assert len(np.unique(corpus.train)) == 10_000, "valid and test bring no word of their own"
    first = [corpus.vocabulary[i] for i in corpus.test[:12]]
    assert first == [
        "no",
        "it",
        "was",
        "n't",
        "black",
        "monday",
        "<eos>",
        "but",
        "while",
        "the",
        "new",
        "york",
    ]
    lines = int((corpus.train == corpus.vocabulary.index("<eos>")).sum())
    assert lines == 42_068


@pytest.mark.parametrize("model", [word_ptb.LARGE, word_ptb.MEDIUM, word_ptb.SMALL])
def test_zarembas_models_are_configurations(model: dict[str, Any]) -> None:
    config = tasks.get("word_ptb").config(**model)
    assert config.model.hidden_size == config.model.embedding_size == model["hidden_size"]
    assert (config.carry, config.loss, config.optim.schedule) == ("zero", "sum", "decay")


def test_text8_is_cut_at_its_end_and_blank_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "text8" / "text8"
    path.parent.mkdir()
    path.write_bytes(b" anarchism originated as a zoo")
    corpus = text8.corpus(path, "90-5-5", held_out=4)
    parts = (corpus.train, corpus.valid, corpus.test)
    assert ["".join(corpus.vocabulary[i] for i in part) for part in parts] == [
        " anarchism originated ",
        "as a",
        " zoo",
    ]
    assert "".join(corpus.vocabulary) == " abcdefghijklmnopqrstuvwxyz"
    assert corpus.test.tolist() == [0, 26, 15, 15]
    assert corpus.test.dtype == np.uint8


def test_text8_refuses_other_symbols(tmp_path: Path) -> None:
    path = tmp_path / "text8" / "text8"
    path.parent.mkdir()
    path.write_bytes(b"the Anarchist")
    with pytest.raises(DataError) as error:
        text8.corpus(path, "90-5-5", held_out=2)
    assert str(error.value) == (
        f"{path} must consist of a-z and blanks, but byte 4 is b'A'. "
        f"Fetch it again with: sweep data fetch text8 --data {tmp_path} --force"
    )


@pytest.mark.parametrize(
    ("variant", "name"), [("permuted", "proper"), ("permuted_code", "code_faithful")]
)
def test_the_orders_of_pixels_are_the_oracles(
    variant: str, name: str, oracles: dict[str, Any]
) -> None:
    expected = oracles["permutation"][name]
    order = sequential_mnist.order(variant).tolist()
    assert order[:10] == expected["first10"]
    assert (
        hashlib.sha256(",".join(map(str, order)).encode()).hexdigest()
        == expected["sha256_of_comma_joined"]
    )
    assert len(set(order)) == expected.get("distinct_pixels", 784)
    assert max(Counter(order).values()) == expected.get("max_repeats", 1)


def test_digits_are_read_in_that_order(data_dir: Path) -> None:
    ordered, permuted = (
        tasks.load_data("sequential_mnist", v, data_dir) for v in ("ordered", "permuted")
    )
    np.testing.assert_array_equal(
        permuted.valid, ordered.valid[:, sequential_mnist.order("permuted")]
    )
    np.testing.assert_array_equal(permuted.valid_labels, ordered.valid_labels)
    assert ordered.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert ordered.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(ordered.train_labels).sum() == 50_000
    picture = ordered.train[0].reshape(28, 28)
    assert picture[:4].max() == 0, "a margin of four pixels"
    assert picture.max() * ordered.SCALE == 1.0


def test_torchvision_is_stubbed_only_where_it_cannot_load() -> None:
    """In a process of its own: the stub stays for as long as the process lives."""
    look = (
        "import sys; from zoneout_core.data import vision\n"
        "try:\n    import torchvision; good = True\n"
        "except RuntimeError:\n    good = False\n"
        "found = vision.torchvision(); assert found is vision.torchvision() is sys.modules['torchvision']\n"
        "assert found.datasets.MNIST and found.transforms.ToTensor\n"
        "assert bool(vision._stub) is not good, (vision._stub, good)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("difficulty", [2, 5])
def test_sums_are_right_padded_and_as_hard_as_asked(difficulty: int) -> None:
    data = problems("addition")
    inputs, targets = data.draw(3, difficulty, 2000)
    assert inputs.shape == (2000, 13)
    assert targets.shape == (2000, 7)
    numbers = []
    for text, answer in zip(texts(data, inputs), texts(data, targets), strict=True):
        a, b = (int(number) for number in text.lstrip("_").split("+"))
        assert text == f"{a}+{b}".rjust(13, "_")
        assert answer == str(a + b).ljust(7, "_")
        numbers += [a, b]
    assert max(numbers) <= 10**difficulty
    assert max(numbers) > 10 ** (difficulty - 1)
    small = np.mean([number <= 10 for number in numbers])  # k = 1 always, k > 1 in 11 of 10^k + 1
    expected = np.mean([11 / (10**k + 1) for k in range(1, difficulty + 1)])
    assert small == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("variant", ["addition", "program"])
def test_draws_depend_on_the_arguments_alone(variant: str) -> None:
    data = problems(variant)
    first, again, other = (data.draw(seed, data.last, 50) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    assert data.alphabet[:2] == "G_"
    assert len(data.alphabet) == {"addition": 13, "program": 48}[variant]


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4])
def test_programs_print_their_answers(difficulty: int) -> None:
    data = problems("program")
    inputs, targets = data.draw(5, difficulty, 300)
    digits, lines = _programs.LEVELS[difficulty - 1]
    longest = 0
    for text, answer in zip(texts(data, inputs), texts(data, targets), strict=True):
        program = text[::-1].rstrip("_")
        assert text == program[::-1].rjust(70, "_")
        longest = max(longest, len(program.splitlines()))
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(program, {})
        assert answer == printed.getvalue().strip().ljust(6, "_")
        numbers = "".join(c if c.isdigit() else " " for c in program).split()
        assert max(map(len, numbers), default=0) <= digits
    assert longest == lines


def test_a_program_is_in_one_split_alone() -> None:
    data = problems("program")
    train, valid = (
        {row.tobytes() for row in data.draw(1, 1, 500, split)[0]} for split in ("train", "valid")
    )
    assert not train & valid


def test_programs_use_every_symbol_but_the_letters_of_none() -> None:
    data = problems("program")
    used = set("".join(texts(data, data.draw(0, 4, 2000)[0])))
    assert set("0123456789abcdefghinprt_ +-=():<>\n") == used


@pytest.mark.parametrize("name", ["addition", "semantic_consistency"])
def test_what_is_drawn_has_no_fraction(name: str) -> None:
    data = tasks.load_data(name, "", Path("not there"))
    assert data.fraction(1.0) is data
    with pytest.raises(ConfigError) as error:
        data.fraction(0.5)
    assert str(error.value) == (
        f"train_fraction must be 1 with task={name}, which draws its examples, but is 0.5. Set it with --set train_fraction=VALUE."
    )
