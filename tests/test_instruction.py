import json
import random
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from course_lib.rt1 import instruction
from course_lib.rt1.instruction import (
    InstructionEncoder,
    UnknownInstructionError,
    default_table,
    encode,
    load_language_model,
    normalise,
    package_folder,
    read_table,
    write_table,
)
from course_lib.world.tasks import known_instructions

needs_weights = pytest.mark.skipif(
    package_folder() is None, reason="the language model's weights are missing: make language"
)
KNOWN = read_table(default_table())[0]


@pytest.fixture
def deaf(tmp_path):
    """An encoder on a machine without the weights."""
    return InstructionEncoder(weights=tmp_path)


def test_the_committed_table_holds_every_instruction_of_the_world():
    assert set(known_instructions()) <= set(KNOWN)


def test_known_instructions_need_no_weights_and_have_length_one(deaf):
    vectors = deaf(KNOWN)
    assert vectors.shape == (len(KNOWN), 384) and vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(KNOWN)), atol=1e-6)
    assert not deaf.reads_free_text


def test_case_spaces_and_a_final_full_stop_do_not_matter(deaf):
    plain, fussy = deaf(["pick up the apple", "  Pick  up the\tAPPLE. "])
    assert torch.equal(plain, fussy)


def test_rows_come_back_in_the_order_asked(deaf):
    a, b = deaf(KNOWN[:2])
    assert torch.equal(deaf([KNOWN[1], KNOWN[0], KNOWN[1]]), torch.stack([b, a, b])) and not torch.equal(a, b)


def test_an_empty_list_gives_no_rows(deaf):
    assert deaf([]).shape == (0, 384)


def test_an_unknown_sentence_without_weights_names_its_neighbours_and_the_remedy(deaf):
    with pytest.raises(
        UnknownInstructionError, match=r"'seize the apple'.*'(take|pick up|grab|lift) the apple'.*make language"
    ):
        deaf(["seize the apple"])


@pytest.mark.parametrize(
    "bad, words", [("", "no words"), (" ?! ", "no words"), (3, "int"), (None, "NoneType"), (b"pick", "bytes")]
)
def test_what_is_not_a_sentence_is_refused(deaf, bad, words):
    with pytest.raises(ValueError, match=rf"Expected an instruction.*{words}.*Try"):
        deaf([bad])


def test_one_text_instead_of_a_list_is_refused_with_the_fix(deaf):
    with pytest.raises(ValueError, match=r"Try encoder\(\['pick apple'\]\)"):
        deaf("pick apple")


def test_a_missing_table_says_where_it_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors.*make setup"):
        InstructionEncoder(table=tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b.replace(b"table", b"elbat")])
def test_a_damaged_table_is_refused(tmp_path, damage):
    path = tmp_path / "table.safetensors"
    path.write_bytes(damage(default_table().read_bytes()))
    with pytest.raises(ValueError, match=r"not a table of instructions.*git checkout"):
        InstructionEncoder(table=path)


def test_tampered_weights_are_refused_with_both_sums(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not MiniLM")
    got = "8eb96033"  # sha256sum of these ten bytes
    with pytest.raises(ValueError, match=rf"Expected .*53aa5117.*got {got}"):
        InstructionEncoder(weights=tmp_path)(["fetch the apple"])


def test_a_package_without_its_tokenizer_is_refused(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(
        instruction.SHA256, "model.safetensors", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    with pytest.raises(ValueError, match=r"tokenizer\.json.*no such file"):
        InstructionEncoder(weights=tmp_path)(["fetch the apple"])


@pytest.mark.weights
def test_the_table_equals_a_fresh_encoding():
    fresh = torch.stack([encode(text, package_folder()) for text in KNOWN])
    assert (fresh - InstructionEncoder()(KNOWN)).abs().max() < 1e-5


@pytest.mark.weights
def test_our_reading_of_the_weights_equals_transformers():
    transformers = pytest.importorskip("transformers")
    folder = package_folder()
    bert = transformers.BertModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts = ["pick apple", "please bring me the café crème, mañana", "place it 3 cm left of the blue bowl " * 6]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"][..., None]
    with torch.no_grad():
        mean = (bert(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)  # over the words, not over the padding
    expected = torch.nn.functional.normalize(mean, dim=1)
    assert (InstructionEncoder()(texts) - expected).abs().max() < 1e-5


@pytest.mark.weights
def test_a_paraphrase_is_nearer_than_another_object():
    encoder = InstructionEncoder()
    for thing, other in [("apple", "banana"), ("sponge", "cup"), ("scissors", "spoon")]:
        here, paraphrase, elsewhere = encoder(
            [f"pick up the {thing}", f"please hand me the {thing}", f"pick up the {other}"]
        )
        assert here @ paraphrase > here @ elsewhere


@pytest.mark.weights
def test_writing_the_table_twice_gives_the_same_bytes_and_nothing_half_written(tmp_path):
    texts = ["Pick apple.", "grab the red can", "pick  apple"]
    for name in "ab":
        write_table(texts, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    with safe_open(tmp_path / "a", "pt") as file:
        about = json.loads(file.metadata()["table"])
    assert about["texts"] == ["pick apple", "grab the red can"] and about["weights_sha256"] == instruction.SHA256


@pytest.mark.weights
def test_free_text_is_encoded_once_and_remembered(monkeypatch):
    calls = []
    monkeypatch.setattr(instruction, "encode", lambda name, folder: calls.append(name) or torch.zeros(384))
    encoder = InstructionEncoder()
    encoder(["Fetch the apple", "fetch the apple"])
    encoder(["fetch the apple!"])
    assert calls == ["fetch the apple"]


@pytest.mark.weights
def test_a_very_long_instruction_is_refused_with_its_length():
    with pytest.raises(ValueError, match=r"at most 256 tokens; got 302"):
        InstructionEncoder()(["apple " * 300])


@pytest.mark.weights
def test_loading_leaves_the_random_numbers_and_the_callers_modes_alone():
    load_language_model.cache_clear()
    torch.manual_seed(0)
    random.seed(0)
    expected = torch.Generator().manual_seed(0)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        vector = InstructionEncoder()(["fetch the apple"])
    assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
    assert vector.dtype == torch.float32
    plain = InstructionEncoder()(["fetch the apple"])
    assert torch.equal(plain, vector)
    torch.nn.Linear(384, 1)(plain).sum().backward()  # not an inference tensor: a policy can train on it


@pytest.mark.weights
def test_free_text_prints_nothing_and_opens_no_connection():
    code = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('a connection was tried')\n"
        "socket.socket.connect = socket.create_connection = no\n"
        "from course_lib.rt1 import InstructionEncoder\n"
        "assert InstructionEncoder()(['fetch me that apple']).shape == (1, 384)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_normalising_twice_changes_nothing():
    for text in ["Pick  Apple. ", "ＰＩＣＫ apple", "grab the 7UP can!?"]:
        assert normalise(normalise(text)) == normalise(text)
