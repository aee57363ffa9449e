# %% [markdown]
# # Day 93 · 2: RT-2, built and taught to act
#
# **After this hour you can** write down an action as text and read it back, build every part of a vision-language model
# from nothing, make it answer token by token without doing any work twice, allow it action tokens only, teach it to act
# without letting it forget how to talk, and find the bugs that a falling loss hides.
#
# | time | memory | hardware |
# |---|---|---|
# | 60 minutes to work through; 2 to 3 minutes to run | 2 GB | a laptop's CPU |
#
# The room this notebook opens is `course_lib/rt2`. You write each part in a small cell and compare it at once with the
# library's, and at the end with Hugging Face's PaliGemma: same weights, same numbers.

# %%
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.actions import ActionSpace, ActionText
from course_lib.datasets.web import vocabulary
from course_lib.rt2 import RT2

torch.manual_seed(0)
DATA = Path("../../data")

# %% [markdown]
# The model of this notebook has PaliGemma's architecture in miniature: two million weights where PaliGemma has three
# billion. (RT-2 itself was built on PaLI-X and PaLM-E, whose weights are not public.) Its words are those that our small
# world needs, one token each. Fresh from its random start it knows nothing; we take it apart first and teach it later.

# %%
BASE = ("base_x", "base_y", "base_yaw")  # RT-2 does not write the base's motion
rt2 = RT2.tiny(vocabulary(), without=BASE, plan=True).eval()
vlm, tokenizer = rt2.vlm, rt2.tokenizer
for p in vlm.language.layers.parameters():  # a fresh model repeats itself: shake it, so that
    p.data += 0.2 * torch.randn_like(p)  # its nonsense has some variety
weights = sum(p.numel() for p in rt2.parameters())
print(f"{weights:,} weights, {len(tokenizer)} tokens, of which {len(tokenizer.words)} are words")

# %% [markdown]
# ## 1. An action is a sentence
#
# RT-2 writes eight whole numbers: *terminate or continue* first, then three for the position, three for the rotation, the
# gripper last. Each is one of 256 levels. Write the two directions for a number between `low` and `high`:


# %%
def to_level(value, low, high):
    return round((value - low) / (high - low) * 255)  # RT-1's release cuts decimals off; we round


def to_value(level, low, high):
    return low + level / 255 * (high - low)


# %% [markdown]
# Now read the one string of the RT-2 paper that belongs to a whole example: *"Instruction: I'm hungry. Plan: pick rxbar
# chocolate. Action: 1 128 124 136 121 158 111 255."* Its ranges are not printed; these are those of RT-1's tokenizer, ±1 m
# for positions, ±π/2 for rotations.

# %%
said = "1 128 124 136 121 158 111 255"
space = ActionSpace.rt2()
mine = []
for word, dim in zip(said.split(), space.dims, strict=True):
    level = int(word)
    mine.append(level if dim.classes else to_value(level, dim.low, dim.high))
    print(f"{dim.name:<20} {level:>3}  {mine[-1]:+.3f} {dim.unit}")
theirs = ActionText(space).decode(said)
assert torch.allclose(theirs, torch.tensor(mine), atol=1e-6)
assert said.split()[1] == str(to_level(mine[1], -1, 1))

# %% [markdown]
# Continue, 7 cm up, a turn of some 20 degrees, close the gripper: a motion that a robot can make in a third of a second.
#
# > **Spot it.** A string that is often quoted as RT-2's output is `1 128 91 241 5 101 127 128 255`. Count before you run:

# %%
try:
    ActionText(space).decode("1 128 91 241 5 101 127 128 255")
except ValueError as refused:
    print(refused)

# %% [markdown]
# Nine numbers are no action (the paper prints this example with seven, the project page with eight). A reader of actions
# must say so: a policy that turns an unreadable string into zeros has an accident that nobody notices.
#
# Text becomes **tokens**: numbers that index a table of vectors. Look at the token of the word "128" in a question, and at
# the one that bin 128 of an action uses:

# %%
ids = tokenizer.encode("what is 128 plus 4 ?")
print("a question:", ids)
print("bin 128:   ", rt2.vocabulary.ids(torch.full((8,), 128)).tolist())
assert ids[2] == int(rt2.vocabulary.ids(torch.full((8,), 128))[0])

# %% [markdown]
# The same token: that is RT-2-PaLI-X's layout. No row is added; the token of the integer 128 gets a second meaning, and
# only the place where it stands tells which. (RT-2-PaLM-E overwrites its 256 least used tokens instead.)
#
# > **Spot it.** A popular miniature gives every dimension its own 256 tokens and reads an action back like this. What comes
# > out for 8 tokens?

# %% tags=["nbval-check-output"]
answer = torch.arange(8)[None]  # (B, 8)
parts = answer.chunk(7, dim=-1)
print(len(parts), "parts, of", [part.shape[-1] for part in parts], "tokens")

# %% [markdown]
# <details><summary>What happened?</summary>
#
# `chunk(7)` does not make 7 parts. It makes parts of ⌈8 / 7⌉ = 2 tokens, and there are 4 of them: four "dimensions" of two
# tokens each, and no error. `answer.unbind(-1)` gives one tensor per token; checking `answer.shape[-1] == 8` first is
# better still.
# </details>
#
# ## 2. The parts of the decoder
#
# **RMSNorm.** Divide a vector by its root mean square, multiply by a learned weight. Gemma learns the difference from one,
# so that a fresh norm has zeros in its weight.


# %%
class MyRMSNorm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.zeros(width)), eps

    def forward(self, x):
        rms = (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        return x / rms * (1 + self.weight)


# %% [markdown]
# A helper for all comparisons: give both parts the same weights, the same input, and look at the largest difference.


# %%
def same(mine, theirs, *inputs, their_inputs=None):
    theirs = theirs.eval()
    for p in theirs.parameters():  # no weight stays at zero or one
        p.data += 0.05 * torch.randn_like(p)
    mine.load_state_dict(theirs.state_dict())  # same names, same shapes, or an error
    with torch.no_grad():
        expected = theirs(*(inputs if their_inputs is None else their_inputs))
        gap = (mine(*inputs) - expected).abs().max().item()
    print(f"{type(mine).__name__} and {type(theirs).__name__}: largest difference {gap:.0e}")
    assert gap < 1e-4


# %%
from course_lib.rt2 import gemma

x = torch.randn(2, 5, 16)
same(MyRMSNorm(16), gemma.RMSNorm(16, 1e-6), x)

# %% [markdown]
# **Positions, by turning.** Attention alone does not know the order of words. RoPE cuts a query (and a key) into pairs,
# reads each pair as a complex number, and turns it by an angle that grows with the position: fast pairs for near things,
# slow ones for far things. A score then depends only on how far apart two tokens are.


# %%
def my_rope(x, positions, base=10_000):
    """x (B, heads, S, d): pair j is turned by position / base^(2 j / d)."""
    half = x.shape[-1] // 2
    speed = base ** (-torch.arange(half) / half)
    angle = positions[:, None, :, None] * speed  # (B, 1, S, d / 2)
    pairs = torch.complex(x[..., :half], x[..., half:])
    turned = pairs * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), -1)


# %%
q, k = torch.randn(2, 1, 1, 1, 40)


def score(i, j):
    at_i, at_j = torch.tensor([[i]]), torch.tensor([[j]])
    return (my_rope(q, at_i) * my_rope(k, at_j)).sum().item()


print(f"positions 3 and 1: {score(3, 1):.4f}, 103 and 101: {score(103, 101):.4f}")
print(f"the other way round, 1 and 3: {score(1, 3):.4f}")
assert abs(score(3, 1) - score(103, 101)) < 1e-4
positions = torch.tensor([[0, 5, 63, 64, 99]])
theirs = gemma.rotate(q.expand(1, 1, 5, 40), gemma.rotary(positions, vlm.config.language))
assert torch.allclose(my_rope(q.expand(1, 1, 5, 40), positions), theirs, atol=1e-5)

# %% [markdown]
# **Attention with few key heads.** Four heads ask, but all share one head of keys and values ("multi-query"). It costs
# little quality and saves memory exactly where it will hurt: the keys and values of everything read so far must be kept.


# %%
def my_attend(q, k, v, mask):
    """q (B, heads, S, d); k, v (B, groups, L, d); mask (..., S, L): True where i may see j."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v


# %%
from course_lib.attention import attend, causal_mask

q, k, v = torch.randn(2, 4, 6, 40), torch.randn(2, 1, 6, 40), torch.randn(2, 1, 6, 40)
mine = my_attend(q, k, v, causal_mask(6))
library = attend(q, k, v, causal_mask(6))
torchs = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
gaps = [(mine - other).abs().max().item() for other in (library, torchs)]
print(f"{gaps[0]:.0e} from the library, {gaps[1]:.0e} from torch")
assert torch.allclose(mine, library, atol=1e-5) and torch.allclose(mine, torchs, atol=1e-5)

# %% [markdown]
# The layer around it: four matrices without biases. (The line with `cache` waits for section 5.)


# %%
class MyAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.head_dim = c.head_dim
        self.query = nn.Linear(c.width, c.heads * c.head_dim, bias=False)
        self.key = nn.Linear(c.width, c.groups * c.head_dim, bias=False)
        self.value = nn.Linear(c.width, c.groups * c.head_dim, bias=False)
        self.output = nn.Linear(c.heads * c.head_dim, c.width, bias=False)

    def forward(self, x, positions, mask, cache=None):
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for y in parts)
        q, k = my_rope(q, positions), my_rope(k, positions)
        k, v = (k, v) if cache is None else cache.append(self, k, v)
        return self.output(my_attend(q, k, v, mask).transpose(1, 2).flatten(2))


# %% [markdown]
# **GeGLU.** Two matrices side by side; one, after GELU, opens and closes the other's channels.


# %%
class MyGeGLU(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.gate(x), approximate="tanh") * self.up(x))


same(MyGeGLU(16, 24), gemma.GeGLU(16, 24), x)

# %% [markdown]
# **A layer** adds two corrections to what flows through it: one from looking around, one from thinking alone.


# %%
class MyLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1, self.norm2 = MyRMSNorm(c.width), MyRMSNorm(c.width)
        self.attention = MyAttention(c)
        self.feed_forward = MyGeGLU(c.width, c.hidden)

    def forward(self, h, positions, mask, cache=None):
        h = h + self.attention(self.norm1(h), positions, mask, cache)
        return h + self.feed_forward(self.norm2(h))


# %%
c = vlm.config.language
h, positions, mask = torch.randn(2, 7, c.width), torch.arange(1, 8).expand(2, -1), causal_mask(7)
theirs = (h, gemma.rotary(positions, c), mask[None, None], 0, None, False, None)
same(MyLayer(c), gemma.GemmaLayer(c), h, positions, mask, their_inputs=theirs)

# %% [markdown]
# **The decoder**: a table of vectors, layers, a last norm, and the same table again to score every token as the next one
# (*tied*: a token's vector says both what it means and when it is due). Gemma multiplies the rows by √width on the way in.


# %%
class MyDecoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embedding = nn.Embedding(c.vocabulary, c.width)
        self.layers = nn.ModuleList(MyLayer(c) for _ in range(c.layers))
        self.norm = MyRMSNorm(c.width)

    def embed(self, tokens):
        return self.embedding(tokens) * self.embedding.embedding_dim**0.5

    def forward(self, h, positions, mask, cache=None):
        for layer in self.layers:
            h = layer(h, positions, mask, cache)
        return self.norm(h) @ self.embedding.weight.T  # (B, S, V)


# %% [markdown]
# ## 3. The eyes
#
# **Patches become tokens.** A Vision Transformer cuts the picture into squares and sends each through one matrix. That is
# what a convolution does whose stride is its kernel's size. PaliGemma's patches are 14 × 14 pixels:

# %%
conv, picture = nn.Conv2d(3, 8, 14, stride=14), torch.rand(1, 3, 224, 224)
squares = picture.unfold(2, 14, 14).unfold(3, 14, 14)  # (1, 3, 16, 16, 14, 14)
squares = squares.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # (1, 256, 588)
by_hand = squares @ conv.weight.flatten(1).T + conv.bias
tokens = conv(picture).flatten(2).transpose(1, 2)
print(tuple(tokens.shape[1:]), f"largest difference {(tokens - by_hand).abs().max():.0e}")
assert torch.allclose(tokens, by_hand, atol=1e-5)

# %% [markdown]
# Our 64-pixel pictures get 8 × 8 patches of 8 pixels, and before them three small convolutions that each halve the
# picture: trained from nothing and for minutes, a model with them recognises more.


# %%
class MyHalve(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, width)

    def forward(self, x):
        return F.gelu(self.norm(self.convolution(x)), approximate="tanh")


# %% [markdown]
# Its layers are the decoder's, more old-fashioned: LayerNorm, biases, every head with its own keys, no turning (where a
# patch is, a learned table says), and no mask: every patch sees every patch.


# %%
class MyVisionAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in parts)
        everywhere = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
        return self.output(my_attend(q, k, v, everywhere).transpose(1, 2).flatten(2))


# %%
class MyVisionLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(c.width, eps=c.eps) for _ in range(2))
        self.attention = MyVisionAttention(c.width, c.heads)
        self.widen, self.narrow = nn.Linear(c.width, c.hidden), nn.Linear(c.hidden, c.width)

    def forward(self, h):
        h = h + self.attention(self.norm1(h))
        return h + self.narrow(F.gelu(self.widen(self.norm2(h)), approximate="tanh"))


# %%
class MyEyes(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths = (3, *c.stem)
        self.stem = nn.Sequential(*(MyHalve(a, b) for a, b in pairwise(widths)))
        side = c.patch_size // 2 ** len(c.stem)  # what is left of a patch
        self.patches = nn.Conv2d(widths[-1], c.width, side, stride=side)
        self.places = nn.Parameter(torch.zeros(c.image_tokens, c.width))
        self.layers = nn.Sequential(*(MyVisionLayer(c) for _ in range(c.layers)))
        self.norm = nn.LayerNorm(c.width, eps=c.eps)

    def forward(self, images):  # (B, 3, H, W), values 0 to 1
        h = self.patches(self.stem(2 * images - 1))  # SigLIP sees -1 to 1
        return self.norm(self.layers(h.flatten(2).transpose(1, 2) + self.places))


# %%
from course_lib.rt2.siglip import SigLIP

same(MyEyes(vlm.config.vision), SigLIP(vlm.config.vision), torch.rand(2, 3, 64, 64))

# %% [markdown]
# ## 4. One sequence: picture, prompt, answer
#
# **The mask.** Picture and prompt are given, so they may look at all of themselves; an answer is written word by word, so
# each of its tokens sees what came before it. One number per position says it all: *i* may look at *j* if *j*'s block is
# not later than *i*'s.


# %%
def my_mask(image, prompt, answer, image_sees_prompt=True):
    place = torch.arange(image + prompt + answer) - image - prompt
    block = (place + 1).clamp(min=0)  # the prefix is block 0, answer tokens are 1, 2, 3 ...
    block[:image] -= int(not image_sees_prompt)  # the picture alone: an earlier block
    return block[:, None] >= block[None, :]


for row in my_mask(3, 2, 3).tolist():
    print("".join(" #" if seen else " ." for seen in row))

# %%
from course_lib.attention import prefix_lm_mask

assert torch.equal(my_mask(64, 10, 8), prefix_lm_mask(64 + 10, 8))

# %% [markdown]
# PaliGemma's pictures may look at the prompt. In our small model they may not: then one pass over a picture serves all
# questions about it, which makes training on a CPU several times cheaper.
#
# **All together.** The projector is one matrix that makes the eyes' tokens as wide as the decoder's.


# %%
class MyPaliGemma(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.vision = config, MyEyes(config.vision)
        self.projector = nn.Linear(config.vision.width, config.language.width)
        self.language = MyDecoder(config.language)

    def forward(self, images, tokens, prompt):  # ``prompt``: how many of the tokens are given
        h = torch.cat((self.projector(self.vision(images)), self.language.embed(tokens)), 1)
        image, sees = h.shape[1] - tokens.shape[1], self.config.image_sees_prompt
        mask = my_mask(image, prompt, tokens.shape[1] - prompt, sees)
        positions = torch.arange(1, h.shape[1] + 1)[None]
        return self.language(h, positions, mask)[:, image:]


# %% [markdown]
# The moment of truth: your model, with the weights of the library's.

# %%
mine = MyPaliGemma(vlm.config)
print(mine.load_state_dict(vlm.state_dict()))
images, tokens = torch.rand(3, 3, 64, 64), torch.randint(3, len(tokenizer), (3, 12))
is_answer = (torch.arange(12) >= 7).expand(3, -1)
with torch.no_grad():
    logits, expected = mine(images, tokens, prompt=7), vlm(images, tokens, is_answer)
gap = (logits - expected).abs().max().item()
print(
    f"logits {tuple(logits.shape)}, largest difference {gap:.0e}, their spread {expected.std():.2f}"
)
assert gap < 1e-3

# %% [markdown]
# And against Hugging Face's PaliGemma, which knows no stem and lets pictures see the prompt, in our sizes: build yours so.

# %%
from course_lib.rt2 import PaliGemma
from course_lib.rt2.levers import plain, transformers_twin

reference = PaliGemma(plain()).eval()
twin = transformers_twin(reference)
mine_plain = MyPaliGemma(plain())
print(mine_plain.load_state_dict(reference.state_dict()))

# %%
picture = torch.full((3, 64), twin.config.image_token_id)
marks = torch.cat((torch.zeros_like(picture), is_answer.long()), 1)  # 1: answer
sequence = {"input_ids": torch.cat((picture, tokens), 1), "token_type_ids": marks}
sequence["attention_mask"] = torch.ones_like(marks)
with torch.no_grad():
    expected = twin(pixel_values=2 * images - 1, **sequence).logits[:, 64:]
    gap = (mine_plain(images, tokens, prompt=7) - expected).abs().max().item()
print(f"your PaliGemma and Hugging Face's: largest difference {gap:.0e}")
assert gap < 1e-4

# %% [markdown]
# Nothing in your code knows how large it is. Here it is in the size of the real one (without memory for its weights):

# %% tags=["nbval-check-output"]
from course_lib.rt2 import PaliGemmaConfig

with torch.device("meta"):
    real = MyPaliGemma(PaliGemmaConfig.pt_224())
print(f"{sum(p.numel() for p in real.parameters()):,} parameters; PaliGemma 3B has 2,923,335,408")

# %% [markdown]
# ## 5. Writing, without doing work twice
#
# Writing is simple: score all tokens, take the best, append it, again. Keep the scores: they will be compared.


# %%
def write_slowly(model, image, prompt, count):
    tokens, scores = prompt, []
    with torch.no_grad():
        for _ in range(count):
            scores.append(model(image, tokens, prompt.shape[1])[:, -1])
            tokens = torch.cat((tokens, scores[-1].argmax(-1)[:, None]), 1)
    return tokens[:, prompt.shape[1] :], torch.stack(scores, 1)


prompt = torch.tensor([rt2.prompts.instruction("recoge la fruta amarilla")])
print("prompt:", tokenizer.decode(prompt[0]).strip())
slow, slow_scores = write_slowly(mine, images[:1], prompt, 8)
print("answer:", tokenizer.decode(slow[0]))

# %% [markdown]
# An untrained model babbles; what matters now is the work. Each of the eight steps looks at the picture again and sends all
# 64 picture tokens, the prompt and the answer so far through the decoder again. But none of their keys and values changes:
# the mask lets nothing look at what is written later. So keep them.


# %%
class MyCache:
    def __init__(self):
        self.kept = {}

    def append(self, layer, k, v):
        if layer in self.kept:
            old_k, old_v = self.kept[layer]
            k, v = torch.cat((old_k, k), 2), torch.cat((old_v, v), 2)
        self.kept[layer] = (k, v)
        return k, v

    @property
    def length(self):
        return next(iter(self.kept.values()))[0].shape[2]


# %% [markdown]
# **Prefill** reads picture and prompt once and fills the cache. **A step** sends one token through.


# %%
def prefill(model, image, prompt):
    cache, config = MyCache(), model.config
    h = model.projector(model.vision(image))
    h = torch.cat((h, model.language.embed(prompt)), 1)
    K, P = h.shape[1] - prompt.shape[1], prompt.shape[1]
    positions = torch.arange(1, K + P + 1)[None]
    mask = my_mask(K, P, 0, config.image_sees_prompt)
    return model.language(h, positions, mask, cache)[:, -1], cache


def step(model, token, cache):
    position = torch.tensor([[cache.length + 1]])
    sees_all = torch.ones(1, cache.length + 1, dtype=torch.bool)
    return model.language(model.language.embed(token[:, None]), position, sees_all, cache)[:, -1]


# %%
def write(model, image, prompt, count, allow=lambda logits, place: logits):
    with torch.no_grad():
        logits, cache = prefill(model, image, prompt)
        scores = [allow(logits, 0)]
        for place in range(1, count):
            logits = step(model, scores[-1].argmax(-1), cache)
            scores.append(allow(logits, place))
    scores = torch.stack(scores, 1)
    return scores.argmax(-1), scores


fast, fast_scores = write(mine, images[:1], prompt, 8)
gap = (fast_scores - slow_scores).abs().max().item()
print(f"the same tokens: {torch.equal(fast, slow)}; largest difference of a score: {gap:.0e}")
assert torch.equal(fast, slow) and gap < 1e-3

# %% [markdown]
# How much faster? Turn by turn, so that a busy computer disturbs all alike, and the median of the ratios:

# %%
from course_lib.rt2 import generate

ways = {
    "you, no cache": lambda: write_slowly(mine, images[:1], prompt, 8)[0],
    "you, with cache": lambda: write(mine, images[:1], prompt, 8)[0],
    "the library": lambda: generate(vlm, images[:1], prompt, steps=8),
}
assert all(torch.equal(way(), slow) for way in ways.values())
took = {name: [] for name in ways}
for _ in range(7):
    for name, way in ways.items():
        start = time.perf_counter()
        way()
        took[name].append(1e3 * (time.perf_counter() - start))

# %%
for name, times in took.items():
    ratio = median(a / b for a, b in zip(took["you, no cache"], times, strict=True))
    print(f"{name:<16} {median(times):6.1f} ms for 8 tokens, speed {ratio:.1f} (no cache: 1)")

# %% [markdown]
# ## 6. Only actions, please
#
# Nothing stops a language model from answering "banana" where the robot needs a number. RT-2 trains on the whole vocabulary
# and restricts the *writing*: for a robot's prompt, every token that cannot stand at this place gets a score of minus
# infinity.

# %%
slots = rt2.vocabulary.slots(rt2.text.counts)  # for each of the eight places, the legal tokens
print("legal tokens at the eight places:", [len(ids) for ids in slots])


def only_actions(logits, place):
    legal = torch.full_like(logits, float("-inf"))
    legal[:, list(slots[place])] = 0
    return logits + legal


tokens, _ = write(mine, images[:1], prompt, 8, allow=only_actions)
print("now:", tokenizer.decode(tokens[0]))
print("read back:", rt2.text.decode(tokenizer.decode(tokens[0])).numpy().round(3))

# %%
from course_lib.rt2.decoding import OnlyActionTokens, PlanThenAction

theirs = OnlyActionTokens(slots, tokenizer.eos_token_id, len(tokenizer))
for place in range(8):
    logits = torch.randn(1, len(tokenizer))
    assert torch.equal(only_actions(logits, place), theirs(logits, torch.zeros(1, place).long()))
print("equal at all eight places")

# %% [markdown]
# With **chain of thought** the answer is a plan in words, the marker "action:", and then an action. The filter lets words
# through until the marker stands there; a plan that does not end is ended.

# %%
rule = PlanThenAction(
    rt2.prompts.marker_ids, slots, tokenizer.eos_token_id, len(tokenizer), limit=4
)
asked = torch.tensor([rt2.prompts.instruction("recoge la fruta amarilla", plan=True)])
tokens = generate(vlm, images[:1], asked, steps=rule.steps, filters=[rule])
print("prompt:", tokenizer.decode(asked[0]).strip())
print("answer:", tokenizer.decode(tokens[0]))

# %% [markdown]
# ## 7. A perfect loss, a broken robot
#
# Here is the heart of a popular miniature of RT-2, with smaller numbers and without its picture. Its training loss falls
# nicely, its demo prints the right shapes. It has four bugs. Read the three cells slowly before you go on, and write down
# what you suspect.


# %%
class Miniature(nn.Module):
    def __init__(self, words=100, bins=16, width=64):
        super().__init__()
        self.words, self.bins = words, bins
        self.text, self.action = nn.Embedding(words, width), nn.Embedding(bins, width)
        layer = nn.TransformerDecoderLayer(width, 4, 4 * width, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.head = nn.Linear(width, words + bins)  # shared by text and action tokens
        self.start = nn.Parameter(torch.randn(width))


# %%
def training_loss(model, text, actions):
    start = model.start.expand(len(text), 1, -1)
    so_far = torch.cat((start, model.action(actions[:, :-1])), 1)
    later = torch.ones(7, 7, dtype=torch.bool).triu(1)
    out = model.decoder(so_far, model.text(text), tgt_mask=later)
    logits = model.head(out)[:, :, model.words :]  # only the action tokens matter
    return F.cross_entropy(logits.flatten(0, 1), actions.flatten())


# %%
@torch.no_grad()
def predict(model, text):
    so_far, actions = model.start.expand(len(text), 1, -1), []
    for _ in range(7):
        out = model.decoder(so_far, model.text(text))
        logits = model.head(out[:, -1])[:, model.words :]
        actions.append(logits.argmax(-1))
        so_far = torch.cat((so_far, model.action(actions[-1])[:, None]), 1)
    return torch.stack(actions, 1)


# %% [markdown]
# Data that can be learned perfectly: two words of the text are the first two numbers, and every further number follows from
# the two before it.

# %%
torch.manual_seed(0)
follows = torch.randint(8, (8, 8))


def some_data(count):
    text = torch.randint(20, 100, (count, 4))  # the last two words mean nothing
    actions = list(torch.randint(8, (2, count)))
    text[:, 0], text[:, 1] = actions[0], 10 + actions[1]
    for _ in range(5):
        actions.append(follows[actions[-2], actions[-1]])
    return text, torch.stack(actions, 1)


# %%
model = Miniature()
optimizer = torch.optim.Adam(model.parameters(), 2e-3)
for number in range(301):
    loss = training_loss(model, *some_data(64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if number % 100 == 0:
        print(f"step {number:>3}: loss {loss.item():.3f}")

# %% [markdown]
# **First clue.** The same text twice:

# %%
text, actions = some_data(1000)
agree = (predict(model, text) == predict(model, text)).float().mean()
print(f"two predictions for the same text agree on {agree:.0%} of the numbers")

# %% [markdown]
# <details><summary>Who is it?</summary>
#
# Dropout. `nn.TransformerDecoderLayer` switches off a tenth of its values at random while it is in training mode, and the
# demo never leaves it. `model.eval()` before predicting.
# </details>

# %%
model.eval()
assert torch.equal(predict(model, text), predict(model, text))
print(f"loss on new data: {training_loss(model, text, actions):.4f}")

# %% [markdown]
# **Second clue.** A loss of a few hundredths means that nearly every number is predicted with near certainty. So:

# %%
right = predict(model, text) == actions
share = right.all(1).float().mean()
print(f"whole actions right: {share:.0%}")
print("number by number:  ", " ".join(f"{part:.0%}" for part in right.float().mean(0).tolist()))

# %% [markdown]
# Nothing is wrong with the training. Compare `predict` with `training_loss`, line by line, before you open this.
#
# <details><summary>Who is it?</summary>
#
# `training_loss` gives the decoder a causal mask, `predict` does not. The last position sees the same in both. But in
# `predict` the *earlier* positions suddenly see later ones, so their states in the second layer differ from everything the
# model met in training; and the more numbers there are, the more goes wrong. The loss never runs `predict`, so it cannot
# know. (With your cache this bug cannot be written: what has been read is never computed again.)
# </details>


# %%
@torch.no_grad()
def predict_masked(model, text):
    so_far, actions = model.start.expand(len(text), 1, -1), []
    for n in range(1, 8):
        later = torch.ones(n, n, dtype=torch.bool).triu(1)  # as in training
        out = model.decoder(so_far, model.text(text), tgt_mask=later)
        actions.append(model.head(out[:, -1])[:, model.words :].argmax(-1))
        so_far = torch.cat((so_far, model.action(actions[-1])[:, None]), 1)
    return torch.stack(actions, 1)


fixed = (predict_masked(model, text) == actions).all(1).float().mean()
print(f"whole actions right, with the mask: {fixed:.0%} (without: {share:.0%})")
assert fixed > share

# %% [markdown]
# **Third clue.** "Move the apple near the can", "move the can near the apple":

# %%
with torch.no_grad():
    one, other = (training_loss(model, x, actions).item() for x in (text, text[:, [3, 1, 0, 2]]))
print(f"loss with the words in order {one:.6f}, in another order {other:.6f}")

# %% [markdown]
# <details><summary>Who is it?</summary>
#
# There are no positions anywhere. The text is a bag of words; and the actions' order is known only through the mask (a
# position can count how many it sees). In your decoder, `my_rope` is the one line that knows.
# </details>
#
# **Fourth clue.** One backward pass, and which rows of the output layer it wants to change:

# %%
model.zero_grad()
training_loss(model, text, actions).backward()
moved = (model.head.weight.grad.abs().sum(1) > 0).sum().item()
print(f"{moved} of {len(model.head.weight)} rows of the output layer get a gradient")

# %% [markdown]
# <details><summary>Who is it?</summary>
#
# The slice `[:, :, model.words :]` *before* the loss. The rows of the words are dead weight: never pushed up, because there
# is no text to learn, and never pushed down, because the loss does not see them. In the original's size that is 32,000 of
# 32,256 rows. RT-2 learns with the whole vocabulary, on web answers and actions alike, and slices only when it writes: your
# `only_actions`.
# </details>
#
# ## 8. Teaching
#
# The data: web pictures with questions, in which no robot acts, and a robot's episodes. To the model both are rows of
# tokens about a picture. Half of the robot's answers here begin with a plan.

# %%
from course_lib.datasets import record
from course_lib.datasets.mixture import Mixture
from course_lib.datasets.robot_frames import RobotFrames
from course_lib.datasets.web import WebPictures

web = WebPictures(batch=8, questions=8)
robot = RobotFrames(record(500, seed=1_000_000), batch=16, plans=0.5)
asked, given = web(0), robot(0)
for i in range(3):
    print(f"web    {asked['questions'][i][0]!r} -> {asked['answers'][i][0]!r}")
for i in range(3):
    numbers = rt2.text.encode(given["actions"][i])
    print(f"robot  {given['instructions'][i]!r} -> {given['plans'][i]!r} {numbers}")

# %% [markdown]
# **The loss**: the cross-entropy of each next token, over the whole vocabulary, where the next token belongs to an answer.
# (We average over each answer first, so that eight action tokens weigh as much as a one-word answer.)


# %%
def my_loss(policy, batch):
    rows = policy.rows(batch)  # tokens and marks, (B, questions, L)
    seen = (x[..., :-1] for x in (rows.tokens, rows.answer, rows.real))
    logits = policy.vlm(policy.pictures(batch["images"]), *seen)
    due, counts = rows.tokens[..., 1:], rows.answer[..., 1:]  # what is next; does it count?
    each = F.cross_entropy(logits.flatten(0, -2), due.flatten(), reduction="none").view(due.shape)
    return ((each * counts).sum(-1) / counts.sum(-1)).mean()


with torch.no_grad():
    for batch in (asked, given):
        assert torch.allclose(my_loss(rt2, batch), rt2.loss(batch), rtol=1e-3)
print("equal on a web batch and on a robot batch")

# %% [markdown]
# > **Spot it.** Another tutorial trains its RT-2 so: let the model write an action, and take the squared error to the
# > expert's. Try:

# %%
prompts = torch.tensor([rt2.prompts.instruction("pick up the apple")])
written = generate(vlm, torch.rand(1, 3, 64, 64), prompts, steps=8, filters=[theirs])
action = rt2.text.action(rt2.vocabulary.bins(written))
error = F.mse_loss(action.clone(), given["actions"][:1])
try:
    error.backward()
except RuntimeError as refused:
    print(refused)

# %% [markdown]
# <details><summary>Why?</summary>
#
# `argmax` picks a token; a little more or less of any weight picks the same one, so there is no slope to go down. The error
# is a number without a history. Cross-entropy works because it asks for the *probability* of the right token, which every
# weight changes.
# </details>
#
# It gets worse when a second loss is added, as the tutorial suggests. Then nobody complains:


# %%
def gradient(loss):
    rt2.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in rt2.parameters() if p.grad is not None])


web_alone, both = gradient(rt2.loss(asked)), gradient(rt2.loss(asked) + error)
print("the robot's part changes the gradient:", not torch.allclose(web_alone, both))

# %% [markdown]
# > **Spot it.** The same tutorial distils a large model with `softmax(logits).log()`. Three logits, one of them very low:

# %%
teacher = torch.tensor([[0.2, 0.3, 0.5]])
for name in ("softmax, then log", "log_softmax"):
    logits = torch.tensor([[0.0, -200.0, 3.0]], requires_grad=True)
    logs = logits.softmax(-1).log() if name == "softmax, then log" else logits.log_softmax(-1)
    distance = F.kl_div(logs, teacher, reduction="batchmean")
    distance.backward()
    print(f"{name:<18} loss {distance.item():>6.1f}, gradient {logits.grad.numpy().round(2)}")

# %% [markdown]
# $e^{-203}$ is smaller than the smallest float32, so softmax says 0, its logarithm −∞, and one such number makes every
# weight NaN. `log_softmax` never leaves the logarithms.
#
# **Co-fine-tuning**: draw batches from both parts, half and half, as RT-2-PaLI-X's mixture (about 50% robot). We begin with
# the vision-language model of `data/`, taught by questions alone, if it is there, and with random weights if not.

# %%
from course_lib.learn import Schedule, behaviour_clone, load_checkpoint

taught = DATA / "rt2_tiny_web.safetensors"
student = RT2.tiny(vocabulary(), without=BASE, plan=True)
if taught.exists():
    eyes_and_words = load_checkpoint(taught, RT2)
    student = RT2(eyes_and_words.vlm, eyes_and_words.tokenizer, without=BASE, plan=True)
print("beginning with", taught.name if taught.exists() else "random weights")

# %% [markdown]
# The cell below runs for a minute at most. Its bar shows the loss of the last step, web or robot; watch the numbers after
# it. The stop button works too: nothing is lost.

# %%
mixture = Mixture({"web": web, "robot": robot}, {"web": 0.5, "robot": 0.5})
begin = time.monotonic()


def only_a_minute(step, loss):
    if time.monotonic() - begin > 60:
        raise KeyboardInterrupt  # as the stop button does


schedule = Schedule(steps=240, lr=1e-3, warmup=20)
history = behaviour_clone(student, mixture, schedule, on_step=only_a_minute)
print(f"{len(history.losses)} steps in {history.seconds:.0f} seconds")

# %%
from course_lib.classroom.plots_rt1 import STYLES, new_figure, show

figure, (axis,) = new_figure(8, 3)
words = []
for part, (colour, dash, marker) in zip(("web", "robot"), STYLES, strict=False):
    steps = [n for n in range(len(history.losses)) if mixture.turn(n) == part]
    losses = [history.losses[n] for n in steps]
    axis.plot(steps, losses, dash, marker=marker, ms=3, color=colour, label=part)
    words.append(f"{part} from {losses[0]:.1f} to {losses[-1]:.1f}")
assert losses[-1] < losses[0], "The robot's loss did not fall."
axis.set(xlabel="step", ylabel="loss (nats for each token)", ylim=(0, None))
axis.legend(frameon=False)
figure.set_label(f"Two curves of the loss over {len(history.losses)} steps: {', '.join(words)}.")
show(figure)

# %% [markdown]
# One minute teaches the *form*, on a busy computer not even that: robot prompts are answered by numbers, questions by
# words, and some of them are common. Finding the named thing in a picture takes hours, here as everywhere.
#
# **Which weights may learn?** RT-2 trained all of them. A weight that learns needs room for itself, its gradient and
# AdamW's two averages: 16 bytes in float32; one that rests needs 2 in bfloat16. Two ways to spend less: only the last
# layers of the decoder learn, or all matrices rest and each gets a small companion, $W + BA$, with $r$ numbers in the middle:
# LoRA (Hu et al. 2021, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685)). Counted for PaliGemma's 3 billion:

# %%
with torch.device("meta"):  # shapes without numbers
    large = PaliGemma(PaliGemmaConfig.pt_224())
blocks = large.language.layers
everything = sum(p.numel() for p in large.parameters())
two_layers = sum(p.numel() for p in blocks[-2:].parameters())
matrices = [m for m in blocks.modules() if isinstance(m, nn.Linear)]
lora = sum(16 * (m.in_features + m.out_features) for m in matrices)
for name, learn, rest in (
    ("everything", everything, 0),
    ("last two layers", two_layers, everything - two_layers),
    ("LoRA, r = 16", lora, everything),
):
    print(f"{name:<16} {learn:>13,} numbers learn, {(16 * learn + 2 * rest) / 1e9:4.1f} GB")

# %% [markdown]
# > **Spot it.** "Freeze all but the last N layers: `for layer in layers[-N:]: layer.requires_grad_(True)`." Right for 2 and
# > for 1. And when nothing at all should learn?

# %%
for n in (2, 1, 0):
    print(f"layers[-{n}:] are {len(student.layers[-n:])} of {len(student.layers)} layers")

# %% [markdown]
# −0 is 0, and from 0 on is everything. `course_lib.learn.train_last` counts from the front, and with 0 means none.
#
# Why does LoRA begin with $B = 0$, but not with $A = 0$ too? One matrix, four numbers in the middle:

# %%
W = student.layers[0].attention.query.weight.detach()
x = torch.randn(5, W.shape[1])
for start in ("B is zero", "both are zero"):
    A = (torch.randn if start == "B is zero" else torch.zeros)(4, W.shape[1], requires_grad=True)
    B = torch.zeros(W.shape[0], 4, requires_grad=True)
    y = x @ (W + B @ A).T
    assert torch.equal(y, x @ W.T)  # at first nothing changes
    y.square().sum().backward()
    print(f"{start}: gradient of A {A.grad.norm():.0f}, of B {B.grad.norm():.0f}")

# %% [markdown]
# The gradient of each contains the other. With both at zero nothing ever moves; with $B = 0$ the first step moves $B$, and
# the second both. `course_lib.learn.lora` puts such companions into any of our models (`pip install -e '.[lora]'` first:
# they are peft's), saves them in a small file, and folds them into $W$ when the learning is over.
#
# ## 9. Acting
#
# A policy trained for hours drives, if `data/` has one; if not, your student. First a number: how far is the arm's next move
# from the expert's, on 48 frames that nobody was trained on? Standing still is the driver to beat.

# %%
trained = DATA / "rt2_tiny.safetensors"
policy = load_checkpoint(trained, RT2) if trained.exists() else student
policy.plan = True
print("driving:", trained.name if trained.exists() else "your student of one minute")
fresh = RobotFrames(record(60, seed=0), batch=48)(0)
drivers = {"your student": student.act, "standing still": lambda _: torch.zeros(48, 11).numpy()}
drivers |= {"the shipped one": policy.act} if trained.exists() else {}
for name, act in drivers.items():
    moves = torch.tensor(act({"image": fresh["images"], "instruction": fresh["instructions"]}))
    apart = 1000 * (moves - fresh["actions"])[:, :3].norm(dim=-1)
    print(f"{name:<15} {apart.mean():5.1f} mm from the expert's move, median {apart.median():5.1f}")

# %% [markdown]
# Now talk to it, in English, Spanish or German. Press a button above the picture, or type; move through the steps with the
# slider or with the arrow keys on the picture. For each step you see the plan, the eight tokens with their probabilities,
# and what they mean. The box below asks the *same model* a question about the picture.
#
# 1. Does the plan name the right thing? Does the hand go where the plan says? Which of the two fails first?
# 2. *pick up the zebra*: why is this refused, where a large model would guess?
# 3. Ask *where is the* …: a cross marks the answer. Does it point better than it grasps?

# %%
from course_lib.classroom import AskRobot

AskRobot(policy, instruction="recoge la fruta amarilla", scene=1)

# %% [markdown]
# **You built** actions as text, a whole vision-language model that equals PaliGemma's number for number, a cache, filters,
# and the loss; you found seven bugs that look like working code. Next: what web knowledge does for the robot, and what
# robot data alone makes it forget.
