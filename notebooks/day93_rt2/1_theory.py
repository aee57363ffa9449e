# %% [markdown]
# # Day 93 · 1: How RT-2 speaks actions
#
# **After these 45 minutes you can** say what RT-2 adds to a vision-language model (a string, and no weights); follow a
# picture and a sentence through our own small PaliGemma and name the shape after every stage; draw its mask; show what
# RMSNorm, RoPE, GeGLU, shared keys and a shared table do; count what four ways of writing actions cost; see why a robot's
# training destroys what a model knew, and what stops it; and read the paper's results with the trials behind them.
#
# | time | memory | hardware |
# |---|---|---|
# | 45 minutes to read and play; about 1 minute to run | 2 GB | a laptop's CPU |
#
# The room this notebook opens is `course_lib/rt2`. What is said about RT-2 comes from its paper (Brohan et al. 2023,
# [arXiv 2307.15818](https://arxiv.org/abs/2307.15818)), marked *paper*, or its
# [project page](https://robotics-transformer2.github.io). RT-2's networks, PaLI-X and PaLM-E, are not public. So we look
# inside **PaliGemma** (Beyer et al. 2024, [arXiv 2407.07726](https://arxiv.org/abs/2407.07726)), an open model of the same
# kind, in two sizes of the same code: a tiny one that runs here, and the real one of 3 billion weights. All else is
# measured here.
#
# As on Day 92, two kinds of boxes will stop you: **Before you run** asks for a guess, **Spot it** shows something you can
# read about RT-2 that is not so, with the evidence.

# %%
import copy
import math
import statistics
import time

import gymnasium
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.classroom.plots_rt1 import show
from course_lib.rt2 import RT2, PaliGemma, PaliGemmaConfig, TinyTokenizer

torch.manual_seed(0)
BASE = ("base_x", "base_y", "base_yaw")  # RT-2's string has no place for the base

# %% [markdown]
# ## 1. A motion is a sentence
#
# RT-1 was built for a robot. RT-2 asks whether that is needed. A vision-language model (VLM) has learned
# from the pictures and texts of the web; asked "what is in the picture?" it answers in words, one token after another. So ask
#
# > Q: what action should the robot take to pick up the apple? A:
#
# (*paper*) and train it, by the same cross-entropy as before, to answer with **eight whole numbers**. That is all: "without
# any new parameters" (*paper*). What comes out is a vision-language-*action* model (VLA). Three were driven on real robots:
#
# | model | eyes | language | kind |
# |---|---|---|---|
# | RT-2-PaLI-X 55B | ViT-22B | 32B | encoder-decoder |
# | RT-2-PaLI-X 5B | – | – | encoder-decoder |
# | RT-2-PaLM-E 12B | ViT-4B | PaLM-8B | decoder only |
#
# (A fourth, PaLI-3B, was tested in the simulated Language-Table.) The eight numbers: should the robot go on, three of
# position, three of rotation, the gripper; each continuous one of 256 levels, as for RT-1 (Day 92, section 5).

# %% tags=["nbval-check-output"]
from course_lib.actions import ActionSpace, ActionText

rt2 = ActionText(ActionSpace.rt2())
said = "1 128 124 136 121 158 111 255"  # printed in the paper, after "I'm hungry."
motion = rt2.decode(said).tolist()
for dim, number, value in zip(rt2.space.dims, said.split(), motion, strict=True):
    unit = {"m": f"{1000 * value:+.0f} mm", "rad": f"{math.degrees(value):+.1f}°"}.get(dim.unit)
    print(
        f"{number:>4}  {dim.name:<18}{unit or (dim.classes or (f'{value:+.2f}',) * 2)[int(value)]}"
    )

# %% [markdown]
# A small, sane motion: seven centimetres up, a turn, close the gripper. (The paper prints no ranges. These are RT-1's, and
# they fit the motions recorded on the project page: two-decimal rotations that 256 levels on ±π/2 cannot produce, such as
# 0.05 and 0.11, never occur among its 3,582. Nor does the paper say which class `1` is; in RT-1's order it means "go on".)
#
# > **Spot it.** The three strings below circulate as "RT-2's output". The first is printed in the paper itself, the second
# > on the project page, the third in a course on RT-2. How many numbers must there be?

# %% tags=["nbval-check-output"]
strings = [
    "1 128 91 241 5 101 127",
    "1 128 91 241 5 101 127 217",
    "1 128 91 241 5 101 127 128 255",
]
for text in strings:
    try:
        print(f"{text:<32} rises by {rt2.decode(text)[3]:.2f} m in a third of a second")
    except ValueError as error:
        print(f"{text:<32} {str(error).split(' (')[0]} ... got {len(text.split())}")

# %% [markdown]
# Seven, eight and nine. The text of the paper counts eight: `terminate` first, gripper last, nothing after it. The one with
# eight would lift the arm by 89 cm in one step: an illustration, not a recording. **Count the fields** before you believe
# a format.
#
# > **Spot it.** "RT-2 has 55B parameters", "RT-2 uses PaLM-E 562B", "ViT-22B sees for PaLI-X and PaLM-E". RT-2's PaLM-E has
# > 12B with a ViT-4B, and on unseen tasks it equals the 55B (section 7). The 562B was never used in RT-2.
#
# ## 2. From a picture and a sentence to the next token
#
# Our tiny PaliGemma has two million weights and knows the words of our small world. It is new: its weights are random, but
# shapes do not care. A `trace` collects what the stages produce.
#
# > **Before you run.** RT-1 squeezed a picture of 245,760 numbers into 4,096. Our picture has 64 × 64 × 3 = 12,288. How
# > many numbers of it reach the decoder? And in the real PaliGemma, of 224 × 224 × 3 = 150,528?

# %%
from course_lib.datasets.web import WebPictures, vocabulary

env = gymnasium.make("course_lib.world:course_lib/Tabletop-v0").unwrapped
things = ["apple", "banana", "coke can"]
start, _ = env.reset(seed=6, options={"kinds": things, "task": "pick up the apple"})
words = vocabulary()
policy = RT2.tiny(words, without=BASE).eval()
prompt = policy.prompts.instruction(start["instruction"])
print(f"{len(words)} words, {len(policy.tokenizer)} tokens. The prompt:")
for token in prompt:
    print(f"{token}:{policy.tokenizer.convert_ids_to_tokens(token)!r}", end="  ")

# %%
vlm = policy.vlm
images, tokens = policy.pictures(start["image"][None]), torch.tensor([prompt])
trace = {"images": images, "tokens": tokens}
with torch.inference_mode():
    trace["logits"] = vlm(images, tokens, trace=trace)
    trace["patches"] = vlm.vision(images)
    trace["projected"] = vlm.projector(trace["patches"])
    trace["embedded"] = vlm.language.embed(tokens)
for name in ("images", "patches", "projected", "tokens", "embedded", "logits"):
    print(f"{name:<10} {tuple(trace[name].shape)!s:<18}{trace[name].numel():>7,} numbers")

# %%
from course_lib.classroom.plots_rt2 import pipeline_figure

show(pipeline_figure(trace))

# %% [markdown]
# - **SigLIP** cuts the picture into 8 × 8 squares of 8 × 8 pixels and lets every square look at every square: 64 patches.
#   (Ours has three small convolutions before that, for it had to learn to see from nothing, on a CPU.)
# - The **projector** is one linear layer. It turns patches into vectors of the width that words have. From here on a patch
#   is one more token, and nothing tells it from a word but its direction in space.
# - **Gemma** reads patches and words in one sequence. Its last state, compared with every row of the table of tokens, gives
#   one score per token of the vocabulary. The best is the first token of the answer; it is read, and so on, eight times.
#
# So 64 × 160 = 10,240 numbers of our picture reach the decoder, and of the real one 256 × 2048 = 524,288: **more than the
# picture has.** There is no TokenLearner and no FiLM; the sentence meets the picture inside the decoder, by
# attention. RT-1 squeezes because it must be fast; a VLM cannot know which detail will be asked for.
#
# > **Spot it.** A popular "simplified RT-2" squeezes the picture into *one* vector and puts it before the words. Then no
# > answer can depend on where something is, unless that one vector says it; and nothing can be looked at twice.
#
# With random weights the answer is noise. Written in legal tokens it is still an action, and that is worth a thought:

# %%
answer = {}
action = policy.act(start, answer)
print(f"it says {answer['text'][0]!r}. The robot would do", *(f"{value:.2f}" for value in action))

# %% [markdown]
# Every string of eight legal numbers is a motion. A model that understood nothing still moves. This is why RT-2 is judged
# by success on a robot, never by whether its strings look right.
#
# ## 3. The mask: who may look at whom
#
# A language model is causal: no position looks ahead, because the word ahead is what it must guess. But nobody must guess the
# picture or the question. So PaliGemma's **prefix-LM** mask lets image and prompt see all of themselves, and only the answer
# is causal. (PaLI-X has an encoder for picture and question and a decoder for the answer: two networks, and the same rule of
# who sees what.)
#
# > **Before you run.** Our tiny model differs in one block: its image does not look at the prompt. What could that be good
# > for, with a robot that looks at the same table and hears another sentence?

# %%
from course_lib.attention import attention_mask, causal_mask, prefix_lm_mask
from course_lib.classroom.plots_rt2 import prefix_mask_figure

K, P, N = trace["projected"].shape[1], len(prompt), 8
position = torch.arange(K + P + N)
ours = attention_mask((position == K) | (position >= K + P))  # a new block begins at the prompt
masks = {
    "causal: a language model": causal_mask(K + P + N),
    "prefix-LM: PaliGemma": prefix_lm_mask(K + P, N),
    "ours: the image is read alone": ours,
}
show(
    prefix_mask_figure(masks, K, P),
    "Dark blue: looks at the image. Light blue: at the prompt. Orange: at the answer.",
)

# %% [markdown]
# If the image is read alone, its keys and values do not depend on the sentence: one pass over the picture serves a hundred
# questions about it (that made our pretraining several times cheaper), and a robot can read the picture before it is told
# what to do. The price: the eyes cannot look *for* something, as FiLM's can.
#
# Does the network obey? Exchange one token and see whose logits move.

# %%
heard = torch.tensor([[*prompt, *policy.vocabulary.ids(torch.full((8,), 128)).tolist()]])
is_answer = torch.arange(P + N)[None] >= P


def who_moves(place, token):
    """The text positions whose logits change when the token at ``place`` is exchanged."""
    other = heard.clone()
    other[0, place] = token
    with torch.inference_mode():
        change = vlm(images, other, is_answer) - vlm(images, heard, is_answer)
    return (change.abs().amax(-1)[0] > 1e-4).nonzero()[:, 0].tolist()


# %%
apple, banana = policy.tokenizer.convert_tokens_to_ids(["apple", "banana"])
word = who_moves(prompt.index(apple), banana)
number = who_moves(P + 3, policy.vocabulary.ids(torch.tensor([7])).item())
print(f"another word in the prompt: positions {word[0]} ... {word[-1]} of {P + N} move")
print(f"another fourth number:      positions {number[0]} ... {number[-1]} move")
assert word == list(range(P + N)) and number == list(range(P + 3, P + N))

# %% [markdown]
# A word of the prompt changes even the positions *before* it, back to the first. A number of the answer changes only what
# comes after. So the eight numbers are **not** independent: the gripper is chosen knowing the motion. What RT-1 cannot
# say (Day 92, section 7), RT-2 can.
#
# ## 4. Five parts of Gemma, each with its reason
#
# ### RMSNorm, and why 1 +
#
# Before every attention and every feed-forward part, each token's vector is divided by its root mean square and multiplied
# by a learned vector. It forgets the vector's length and keeps its direction; unlike LayerNorm it does not subtract the mean.

# %% tags=["nbval-check-output"]
from course_lib.rt2.gemma import RMSNorm

x, norm = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), RMSNorm(4, eps=1e-6)
for name, vector in {"x": x, "100 x": 100 * x, "x + 10": x + 10}.items():
    r, centred = norm(vector), nn.LayerNorm(4)(vector)
    print(f"{name:<7} RMSNorm {[round(v, 3) for v in r[0].tolist()]}", end="   ")
    print(f"LayerNorm {[round(v, 3) for v in centred[0].tolist()]}")

# %% [markdown]
# Gemma multiplies by $1 + w$ and starts with $w = 0$. Two reasons to know it. **Weight decay** pulls $w$ towards zero: with
# $1 + w$ that is "leave it as it is", with a plain $w$ it is silence. And whoever **loads Gemma's file** and forgets the 1:
#
# > **Before you run.** Our new model, without the 1. How different will its scores be for different tokens?


# %%
class PlainRMSNorm(RMSNorm):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


forgetful = copy.deepcopy(vlm)
for module in forgetful.language.modules():
    if isinstance(module, RMSNorm):
        module.__class__ = PlainRMSNorm  # the same weights, read without the 1
with torch.inference_mode():
    for name, model in {"1 + w": vlm, "w": forgetful}.items():
        scores = model(images, tokens)[0, -1]
        print(f"{name:<6} spread of the {len(scores)} scores: {scores.std():.2f}")

# %% [markdown]
# ### RoPE: only distances matter
#
# Attention compares a query with a key and does not know where they stand. RT-1 *adds* a learned vector per position; Gemma
# *turns* queries and keys by an angle proportional to their position (RoPE, Su et al. 2021,
# [arXiv 2104.09864](https://arxiv.org/abs/2104.09864)), pair by pair, each pair at its own speed. Two vectors turned by $m$
# and $n$ have an inner product in which only $m - n$ is left.
#
# > **Before you run.** One query, one key, put at all pairs of 48 positions: 2,304 scores. How many different ones?

# %%
from course_lib.classroom.plots_rt2 import rope_figure
from course_lib.rt2.gemma import rotary, rotate

config, S = vlm.config.language, 48
rotation = rotary(torch.arange(S)[None], config)
q, k = torch.randn(2, config.head_dim)
queries, keys = (rotate(v.expand(1, 1, S, -1), rotation)[0, 0] for v in (q, k))
scores = (queries @ keys.T).numpy()
show(rope_figure(scores))

# %% [markdown]
# 95, one per distance. For the same reason the decoder cannot tell whether its sequence begins at position 1 or 1,001:


# %%
def decode_at(first, text):
    """Gemma's last state over [image, text], counted from ``first``; None: all at one position."""
    h = torch.cat((trace["projected"], vlm.language.embed(text)), 1)
    places = torch.arange(h.shape[1])[None]
    places = places * 0 if first is None else places + first
    with torch.inference_mode():
        return vlm.language(h, places)[0, -1]


# %%
order = torch.tensor(prompt)
order[1:-1] = order[1:-1].flip(0)  # the same words, backwards
shuffled = order[None]
print(f"1,000 positions later: {(decode_at(1001, tokens) - decode_at(1, tokens)).abs().max():.0e}")
print(f"the words backwards: {(decode_at(1, shuffled) - decode_at(1, tokens)).abs().max():.2f}")
without = (decode_at(None, shuffled) - decode_at(None, tokens)).abs().max()
print(f"the words backwards, without positions: {without:.0e}")
assert without < 1e-4

# %% [markdown]
# > **Spot it.** The last line is a popular "simplified RT-2": it has no positions at all. To it, "move the apple to the can"
# > and "move the can to the apple" are the same bag of words; its loss is the same to all digits.
#
# ### GeGLU: a product, not a sum
#
# The feed-forward part is `down(gelu(gate(x)) * up(x))`: one half decides how much of the other half passes. An ordinary
# layer, made of sums and a bend, doubles a large output when its input doubles.
#
# > **Before you run.** And this one?

# %% tags=["nbval-check-output"]
from course_lib.rt2.gemma import GeGLU

torch.manual_seed(0)
gated = GeGLU(64, 256)
plain = nn.Sequential(nn.Linear(64, 256, bias=False), nn.GELU(), nn.Linear(256, 64, bias=False))
x = 1000 * torch.randn(64)
with torch.inference_mode():
    for name, part in {"an ordinary layer": plain, "GeGLU": gated}.items():
        ratio = part(2 * x).norm() / part(x).norm()
        print(f"{name:<18} twice the input, {ratio:.2f} times the output")

# %% [markdown]
# Four times: it multiplies two views of the same token. (The norm before it sees to it that this does not run away.) Three
# matrices instead of two, and wide ones. Where are PaliGemma's 2.9 billion weights?

# %% tags=["nbval-check-output"]
real = PaliGemmaConfig.pt_224()
with torch.device("meta"):  # shapes without memory
    giant = PaliGemma(real)
groups = {"eyes": giant.vision, "projector": giant.projector, "table": giant.language.embedding}
groups["attention"] = nn.ModuleList(layer.attention for layer in giant.language.layers)
groups["GeGLU"] = nn.ModuleList(layer.feed_forward for layer in giant.language.layers)
everything = sum(p.numel() for p in giant.parameters())
for name, part in groups.items():
    count = sum(p.numel() for p in part.parameters())
    print(f"{name:<10}{count:>15,}  {count / everything:>6.1%}")
print(f"{'together':<10}{everything:>15,}")

# %% [markdown]
# ### Shared keys: multi-query attention
#
# PaliGemma's decoder has 8 heads that ask, but one head of keys and values that answers all of them. What a decoder must
# remember of each past position is keys and values, so this memory (the *KV cache*) shrinks by 8.

# %%
from course_lib.attention import attend

q, k, v = torch.randn(1, 8, 5, 16), torch.randn(1, 1, 5, 16), torch.randn(1, 1, 5, 16)
one = attend(q, k, v)
eight = attend(q, k.expand(-1, 8, -1, -1), v.expand(-1, 8, -1, -1))  # the same keys, eight times
assert torch.allclose(one, eight, atol=1e-6)
length = real.vision.image_tokens + 16 + 8  # image, prompt, action
for heads in (8, 1):
    each = 2 * real.language.layers * heads * real.language.head_dim * 2  # keys and values, bf16
    print(f"{heads} key head{'s' * (heads > 1)}: {each:,} bytes a position,", end=" ")
    print(f"{each * length / 1e6:.1f} MB for a robot's row")

# %% [markdown]
# For one robot with a row of 280 positions, 5 or 41 MB hardly matter beside nearly 6 GB of weights. For long texts and many
# rows at once they decide what fits.
#
# ### One table, in and out
#
# The table of tokens is used twice: a token's row is what the network *reads* when it hears the token, and the direction in
# which its last state must *point* to say it. Remember this for the next section: **training a word to be said changes how
# it is heard.** In the real PaliGemma the shared table saves another 527 million weights.

# %%
ids = torch.arange(len(policy.tokenizer))
state = F.normalize(torch.randn(vlm.config.language.width), dim=0)
changed = copy.deepcopy(vlm.language)
with torch.no_grad():
    changed.embedding.weight[banana] += state  # one row moves
    read = (changed.embed(ids) - vlm.language.embed(ids)).abs().amax(-1)
    said = (changed.logits(state) - vlm.language.logits(state)).abs()
for name, moved in {"is read": read, "is said": said}.items():
    which = policy.tokenizer.convert_ids_to_tokens((moved > 1e-6).nonzero()[:, 0].tolist())
    print(f"changes the way it {name}: {which}")

# %% [markdown]
# ## 5. 256 numbers among the words: four layouts
#
# The answer is made of tokens of the vocabulary. Which tokens stand for level 0, 1, 2 … 255?
#
# | layout | who | what it costs |
# |---|---|---|
# | the tokens of the **integers** 0 … 255 | RT-2 on PaLI-X, whose integers up to 1000 each have a token (*paper*) | nothing; they keep their meaning and get a second one |
# | **overwrite** the 256 least used tokens | RT-2 on PaLM-E (*paper*); OpenVLA, with the last 256 of Llama's 32,000 | 256 rare tokens lose their meaning |
# | **append** 256 new ones | many drawings of RT-2 | 256 rows that begin as noise |
# | 256 **for each number**, a start and an end | a tutorial on RT-2 | 8 × 256 + 2 rows; level 128 is learned eight times |
#
# > **Before you run.** Appending 256 tokens to the real PaliGemma: how many weights more? And to RT-2's 55B?

# %% tags=["nbval-check-output"]
layouts = {}
for name in ("integers", "overwrite", "extend", "per dimension"):
    torch.manual_seed(0)
    layouts[name] = RT2.tiny(words, layout=name, without=BASE)
sizes = {"tiny": vlm.config, "PaliGemma 3B": real, "PaliGemma 2 3B": PaliGemmaConfig.pt2_224()}
print(f"{'new weights':<15}{'new rows':>9}", *(f"{name:>16}" for name in sizes))
for name, one in layouts.items():
    added = [one.vocabulary.added_parameters(size.language.width) for size in sizes.values()]
    print(f"{name:<15}{one.vocabulary.added_rows:>9}", *(f"{count:>16,}" for count in added))

# %% [markdown]
# Half a million of 2.9 billion: 0.02%. The number is not the point. (For RT-2's 5B, 12B and 55B it is 0, whatever
# their width: *integers* and *overwrite* add nothing.) The point is **what the rows know when training begins**, and what
# they do to the rest.
#
# > **Spot it.** "Calculate RT-2's vocabulary: 32K text tokens + 256." 32,000 is Llama-2's vocabulary, and RT-2 adds nothing.
#
# > **Spot it.** A layout for each dimension needs arithmetic, and this one has a trap. What becomes of a policy that wants a
# > little more than the maximum?


# %% tags=["nbval-check-output"]
def copied_ids(action):  # 7 numbers from -1 to 1
    return ((action + 1) / 2 * 255).long() + 256 * torch.arange(7)


def copied_action(ids):
    return (ids % 256) / 255 * 2 - 1


for wanted in (0.99, 1.0, 1.01, 1.2):
    back = copied_action(copied_ids(torch.full((7,), wanted)))[0]
    print(f"x = {wanted:<5} comes back as {back:+.2f}")

# %% [markdown]
# One hundredth too far, and the robot goes **full speed in the other direction**: token 256 is the next dimension's level 0.
# Clip first; and test at the limits.
#
# ### The vocabulary explorer
#
# Each square is one row of the tiny model's table. Choose a layout and a training step; the colour shows how long the row's
# gradient is (yellow: the longest; an empty frame: none). Orange frames are the eight tokens of the action below, which you
# can write as text, as token ids or with the sliders. Things to find:
#
# 1. With the *integers*: which steps leave rows without any gradient? Find the token `banana` and go through the steps.
# 2. In which layout do two different numbers of the action never share a row?
# 3. `128` is a right answer in the robot's step and a word of the vocabulary. In which layouts does learning to *move* change
#    how the model *reads* the number 128?
# 4. Type RT-2's example from section 1. Why would our robot stop?

# %%
from course_lib.datasets import record

episodes = record(12, seed=0)
still = (episodes.actions[:, 7:10] == 0).all(1).nonzero()[:, 0]  # steps on which the base rests
frames = still[torch.linspace(0, len(still) - 1, 8).long()]
episode = torch.bucketize(frames, episodes.start, right=True) - 1
robot = {
    "images": episodes.pictures(frames),
    "instructions": [episodes.sentences()[i] for i in episodes.task[episode].tolist()],
    "actions": episodes.actions[frames],
}
web = WebPictures(batch=4, questions=2)(0)

# %%
from course_lib.classroom import VocabularyExplorer

examples = {"a step of our robot": policy.text.encode(robot["actions"][0])}
examples["RT-2's example"] = "1 128 124 136 121 158 111 255"
explorer = VocabularyExplorer(layouts, robot, web, examples=examples)
explorer

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1\. Only *robot, action tokens only*. There, words that are not in a prompt get nothing at all: `banana` stays as it is. In
# all other steps every row of the table has a gradient, and `banana`'s comes from being pushed down.
# 2\. The last one. In the others each level has one row for all eight places; the *position* says which is meant.
# 3\. With the integers, always: one row for both. With the others never, the word `128` is another row.
# 4\. The first number is a class, and each robot has its own: 1 is "stop" for ours and "go on" in RT-2.
# </details>
#
# After you have changed something, this cell shows what Python sees of it:

# %%
print(f"{explorer.chosen}: {explorer.text!r} is", *explorer.ids)

# %% [markdown]
# ### Why every row learns
#
# The gradient of cross-entropy with respect to the scores is $p - y$: for the right token its probability minus 1 (pulled
# up), for **every other token of the vocabulary** its probability (pushed down).

# %% tags=["nbval-check-output"]
scores = torch.tensor([2.0, 1.0, 0.0, -1.0], requires_grad=True)  # four tokens, the second is right
F.cross_entropy(scores[None], torch.tensor([1])).backward()
print("probabilities", [round(p, 2) for p in scores.softmax(0).tolist()])
print("gradient     ", [round(g, 2) for g in scores.grad.tolist()])

# %%
from course_lib.classroom.vocabulary_explorer import table_gradients

print(f"{'':<26}{'rows said':>10}{'rows read':>10}{'no gradient':>13}")
for sliced in (False, True):
    learned = table_gradients(layouts["extend"], robot, action_tokens_only=sliced)
    total, as_said, as_read = (int((norm > 0).sum()) for norm in learned.norms())
    what = "action tokens only" if sliced else "whole vocabulary"
    print(f"{what:<26}{as_said:>10}{as_read:>10}{len(learned.asked) - total:>13}")

# %% [markdown]
# RT-2 trains on the whole vocabulary; only *decoding* is restricted to action tokens, and only for robot prompts (*paper*).
# Both matter. Trained on action tokens alone, nothing ever tells the model **not** to answer a robot's prompt with a word; and
# restricted always, it could no longer answer questions.
#
# > **Spot it.** The "simplified RT-2" computes its loss on the 256 action scores alone. Measured on that code: of 32,256 rows
# > of its output layer 256 get a gradient. 24.6 million weights, 22.6% of its network, can never learn anything.
#
# ## 6. Co-fine-tuning: not forgetting
#
# Train the VLM on robot data only, and it forgets. Not because memory is short, but because nothing holds it: each
# robot step pushes every word down (section 5), and no step pulls one up. RT-2's remedy is **co-fine-tuning**:
# the original web data stays in the mixture. The robot's share of each batch is about 50% for PaLI-X and 66% for PaLM-E
# (*paper*), by *sampling*.
#
# Let us watch it happen, in the smallest world that has it: a square in one of six colours, in one of four corners of 16 ×
# 16 pixels. The web asks for colour and place; the robot must go where the square is. The classes are the real ones.

# %%
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (40, 60, 230)}
COLOURS |= {"yellow": (230, 210, 20), "black": (10, 10, 10), "white": (250, 250, 250)}
QUESTIONS = ["what colour is it", "where is it"]


def squares(seed, n=32):
    """n pictures, and what they show: colour, row and column (0 or 1)."""
    rng = torch.Generator().manual_seed(seed)
    colour, row, column = (torch.randint(m, (n,), generator=rng) for m in (len(COLOURS), 2, 2))
    images = torch.full((n, 2, 8, 2, 8, 3), 128, dtype=torch.uint8)  # rows and columns of halves
    paint = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)[colour]
    images[torch.arange(n), row, 2:6, column, 2:6] = paint[:, None, None]
    return images.view(n, 16, 16, 3), colour, row, column


# %%
def web_batch(seed):
    images, colour, row, column = squares(seed)
    names = [list(COLOURS)[c] for c in colour.tolist()]
    places = [
        f"{('upper', 'lower')[r]} {('left', 'right')[c]}" for r, c in zip(row, column, strict=True)
    ]
    answers = [list(pair) for pair in zip(names, places, strict=True)]
    return {"images": images, "questions": [QUESTIONS] * len(images), "answers": answers}


def robot_batch(seed):
    images, _, row, column = squares(10**6 + seed)
    actions = torch.zeros(len(images), 11)
    actions[:, 0], actions[:, 1] = 0.06 * (column - 0.5), 0.06 * (row - 0.5)  # metres
    return {"images": images, "instructions": ["touch it"] * len(images), "actions": actions}


# %%
from course_lib.rt2.config import GemmaConfig, SigLIPConfig


def new_model():
    torch.manual_seed(0)
    said = " ".join([*COLOURS, *QUESTIONS, "upper lower left right touch it"])
    tokenizer = TinyTokenizer([*said.split(), *policy.prompts.words], unused=0)
    eyes = SigLIPConfig(16, 4, 48, 2, 4, 96)
    decoder = GemmaConfig(len(tokenizer), 48, 2, 4, 1, 12, 128)
    vlm = PaliGemma(PaliGemmaConfig(eyes, decoder, image_sees_prompt=False))
    return RT2(vlm, tokenizer, without=BASE)


print(f"{sum(p.numel() for p in new_model().parameters()):,} weights")

# %% [markdown]
# What do we measure? Whether it *says* the colour, all words allowed; whether it still *knows* it, when only the six colours
# may be said; and whether it goes to the square.

# %%
from course_lib.rt2.decoding import OnlyActionTokens


@torch.inference_mode()
def says(model, rules=()):
    """Its answers to "what colour is it", and the part of them that is right."""
    web = web_batch(-1)
    asked = [QUESTIONS[0]] * len(web["images"])
    said = model.generate(web["images"], asked, steps=3 - 2 * len(rules), filters=rules)
    pairs = zip(said, web["answers"], strict=True)
    return said, statistics.mean(word == right[0] for word, right in pairs)


# %%
KEYS = ("says the colour", "knows it (only colours allowed)", "touches the square")


def abilities(model):
    """The three rates of KEYS."""
    ids = model.tokenizer.convert_tokens_to_ids(list(COLOURS))
    rule = OnlyActionTokens([ids], model.tokenizer.eos_token_id, len(model.tokenizer))
    robot = robot_batch(-1)
    action = model.act({"image": robot["images"].numpy(), "instruction": "touch it"})
    near = (torch.as_tensor(action) - robot["actions"]).abs().amax(1) < 0.01  # one centimetre
    rates = (says(model)[1], says(model, [rule])[1], near.float().mean().item())
    return dict(zip(KEYS, rates, strict=True))


# %%
def fine_tune(model, batch_of, steps, lr=1e-3, every=25):
    """Train on ``batch_of(step)``; the abilities before and after every so many steps."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    seen = [abilities(model)]
    for step in range(steps):
        loss = model.loss(batch_of(step))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % every == 0:
            seen.append(abilities(model))
    return {key: [rates[key] for rates in seen] for key in KEYS}


# %%
taught = new_model()
before = fine_tune(taught, web_batch, 250, lr=3e-3, every=250)
print({key: f"{rates[-1]:.0%}" for key, rates in before.items()})

# %% [markdown]
# This is our VLM: it knows colours and has never moved. Now three ways to make a robot of it, and one robot without a VLM.
#
# > **Before you run.** After 150 steps of robot data only: how often does it *say* the colour? How often does it still
# > *know* it, among six?


# %%
def mixed(share):
    """Batches of which this part is the robot's."""
    return lambda step: (
        robot_batch(step) if (step * share) % 1 + share >= 1 - 1e-9 else web_batch(10_000 + step)
    )


ways = {"robot only": (taught, 1.0), "half and half": (taught, 0.5), "one tenth web": (taught, 0.9)}
ways["robot only, from nothing"] = (new_model(), 1.0)
runs = {}
for name, (model, share) in ways.items():
    trained = copy.deepcopy(model)
    runs[name] = fine_tune(trained, mixed(share), 150)
    print(f"{name:<26} {QUESTIONS[0]}? {says(trained)[0][0]!r}")

# %%
from course_lib.classroom.plots_rt2 import forgetting_figure

show(forgetting_figure(runs, 25))

# %%
last = {name: [rates[-1] for rates in run.values()] for name, run in runs.items()}
assert last["robot only"][0] < 0.5 < last["half and half"][0]
for name, rates in last.items():
    print(
        f"{name:<26}",
        *(f"{key}: {rate:.0%}" for key, rate in zip(KEYS, rates, strict=True)),
        sep="  ",
    )

# %% [markdown]
# What this small world shows (32 pictures; one seed; a model of a hundred thousand weights, so no proof about 55 billion):
#
# - **Robot only** soon answers most questions with numbers. And it is not only shy: forced to name one of six colours, it is right
#   hardly more often than a guess. The way from patch to colour was not needed, and was written over.
# - **Half and half** never lets go of the colour, and learns the robot's part a little later: it had half the robot's steps.
#   **A tenth** of web data forgets first and then finds its way back.
# - **From nothing** the same robot data teach less in the same steps. "Where is it" was worth learning: knowledge is not only
#   kept, it is *transferred*.
#
# The tiny model on our table, with several mixtures, seeds and intervals, is the matter of notebook 3.
#
# ### A share of the batch, or a weight in the loss?
#
# Lessons often write $L = \lambda L_\text{robot} + (1 - \lambda) L_\text{web}$. RT-2 samples: a share $p$ of the examples is
# the robot's. In expectation these are the same, $\lambda = p$, **if every example counts alike**. If instead every *token*
# counts alike, as the mean over a batch's tokens does, the longer answers win. A robot's answer has 9 tokens (8 and the end),
# "yellow" has 2.
#
# > **Before you run.** Half of the examples are the robot's. What is its share of the loss, per token?

# %% tags=["nbval-check-output"]
p, n_robot, n_web = 0.5, 9, 2
by_token = p * n_robot / (p * n_robot + (1 - p) * n_web)
print(f"per example: {p:.0%} robot; per token: {by_token:.0%} robot")

# %%
batches = (robot, web)
losses = [policy.losses(batch).flatten() for batch in batches]
lengths = [policy.rows(batch).answer.sum(-1).flatten() for batch in batches]
each, count = torch.cat(losses), torch.cat(lengths)
p = len(losses[0]) / len(each)  # the robot's share of these examples
weighted = p * losses[0].mean() + (1 - p) * losses[1].mean()
print(f"per example {each.mean():.4f}, with lambda = p = {p:.2f} {weighted:.4f},", end=" ")
print(f"per token {(each * count).sum() / count.sum():.4f}")
assert torch.isclose(each.mean(), weighted)

# %% [markdown]
# `RT2.loss` takes the mean over each answer first, so for us sampling and weighting agree. (They still differ in noise: a
# weight of 0.01 on every batch is not the same walk as one robot batch in a hundred.)
#
# What did it bring RT-2? The paper's ablation, success on unseen things in %:
#
# | PaLI-X | training | objects easy / hard | backgrounds easy / hard | environments easy / hard | mean |
# |---|---|---|---|---|---|
# | 5B | from scratch | 0 / 10 | 46 / 0 | 0 / 0 | 9 |
# | 5B | robot only | 24 / 38 | **79** / **50** | 36 / 23 | 42 |
# | 5B | co-fine-tuned | **60** / 38 | 67 / 29 | **44** / **24** | 44 |
# | 55B | robot only | 60 / 62 | 75 / 38 | 57 / 19 | 52 |
# | 55B | co-fine-tuned | **70** / 62 | **96** / **48** | **63** / **35** | 63 |
#
# For the 55B it is +11 points. For the 5B +2, and on both background columns it is *worse*. Co-fine-tuning is no law of nature.
# (The six numbers of the last row stand in the next table again, there with the mean 62. Their mean is 62.3.)
#
# ## 7. What RT-2 could do that nobody had taught it
#
# About 6,000 trajectories on real robots, blind A/B (*paper*). First generalisation, success in %:
#
# | model | seen tasks | objects easy / hard | backgrounds easy / hard | environments easy / hard | **mean unseen** |
# |---|---|---|---|---|---|
# | R3M | 45 | 32 / 14 | 13 / 9 | 0 / 2 | 12 |
# | VC-1 | 63 | 34 / 10 | 13 / 3 | 0 / 0 | 10 |
# | RT-1 | 92 | 31 / 43 | 71 / 9 | 26 / 14 | 32 |
# | MOO | 75 | 58 / 48 | 38 / 41 | 19 / 3 | 35 |
# | RT-2-PaLI-X-55B | 91 | 70 / 62 | 96 / 48 | 63 / 35 | **62** |
# | RT-2-PaLM-E-12B | 93 | 84 / 76 | 75 / 71 | 36 / 33 | **62** |
#
# On seen tasks RT-2 does **not** beat RT-1 (91 and 93 against 92). The gain is on what is new: about twice.
#
# > **Spot it.** A table that circulates: "seen 97 / 93 / 90, novel 76 / 89 / 93, symbols 0 / 67 / 84, sizes 35M / 5B / 562B" for
# > RT-1 / PaLI / PaLM-E. Seen is 92 / 91 / 93; unseen 32 / 62 / 62; symbols (below) 16 / 82 / 36, in the opposite order. The 97
# > and 76 come from RT-1's own paper, another benchmark: never in one column.
#
# The famous part is *emergent* skills: symbols ("move coke can to the 3"), reasoning ("move the apple to the cup with the same
# colour"), people ("move coke can to taylor swift"). Each instruction was run 5 times. The percentages of the paper, and how
# many trials its list of instructions gives each cell:

# %%
cells = {  # name: (trials, group); symbols 1 to 3, then the others in the paper's order
    "symbols 1": (15, "symbols"), "symbols 2": (20, "symbols"), "symbols 3": (15, "symbols"),
    "maths": (20, "reasoning"), "logos": (25, "reasoning"), "nutrition": (25, "reasoning"),
    "colour, languages": (40, "reasoning"), "celebrities": (15, "people"), "CelebA": (15, "people"),
}  # fmt: skip
printed = {
    "PaLI-X-55B": [93, 60, 93, 25, 52, 48, 58, 53, 53],
    "PaLM-E-12B": [67, 20, 20, 35, 56, 44, 35, 33, 53],
    "RT-1": [27, 20, 0, 5, 0, 32, 28, 20, 20],
    "VC-1": [7, 25, 0, 0, 8, 20, 13, 20, 7],
}

# %% [markdown]
# Percentages leave traces (Day 92, section 8). Is every one of these a whole number of successes of its trials?


# %% tags=["nbval-check-output"]
def successes(percent, n):
    """The k for which 100 k / n, rounded, is what was printed."""
    fits = [k for k in range(n + 1) if math.floor(100 * k / n + 0.5) == percent]
    assert len(fits) == 1, (percent, n, fits)
    return fits[0]


trials = [n for n, _ in cells.values()]
counts = {
    model: [successes(p, n) for p, n in zip(row, trials, strict=True)]
    for model, row in printed.items()
}
for model, ks in counts.items():
    print(f"{model:<12} {sum(ks):>3} of {sum(trials)} = {sum(ks) / sum(trials):.0%}")

# %%
from course_lib.classroom.plots_numbers import rates_figure
from course_lib.measure import wilson

rates = {}
for group in ("symbols", "reasoning", "people"):
    mine = [i for i, (_, g) in enumerate(cells.values()) if g == group]
    n = sum(trials[i] for i in mine)
    rates[group] = {model: wilson(sum(ks[i] for i in mine), n) for model, ks in counts.items()}
show(rates_figure(rates), "95% intervals (Wilson), all trials of a group pooled.")

# %% [markdown]
# Every cell fits. The paper's headline is the mean of the three groups' means: 60, 40, 17 and 11%. (Pooled, as drawn, a group
# can differ by a few points: a cell of 40 trials weighs more than one of 15. And five runs of one instruction are alike, so
# the true intervals are wider than these.)
#
# > **Before you run.** "PaLM-E is better at maths, PaLI-X at symbols" (7 against 5 of 20; 17 against 40 of 50). Which of the two
# > would you bet on?


# %% tags=["nbval-check-output"]
def fisher(a, n_a, b, n_b):
    """Two-sided p: how often would chance alone part a + b successes at least as unevenly?"""

    def chance(k):
        return math.comb(n_a, k) * math.comb(n_b, a + b - k) / math.comb(n_a + n_b, a + b)

    every = [chance(k) for k in range(max(0, a + b - n_b), min(n_a, a + b) + 1)]
    return sum(p for p in every if p <= chance(a) * (1 + 1e-9))


print(f"maths:   p = {fisher(7, 20, 5, 20):.2f}")
print(f"symbols: p = {fisher(40, 50, 17, 50):.0e}")

# %% [markdown]
# The second is far beyond chance, the first is a coin. And what did *not* emerge (*paper*): new motions. RT-2 moves the coke
# can to Taylor Swift, but it cannot wipe, fold or use a tool that no robot data shows. The web teaches *what* and *where*;
# *how* comes from the robot.
#
# > **Spot it.** "Pick up the object used for cutting paper", "Recoge el objeto rojo", "Clear the table" (with a five-step plan):
# > good ideas, but not in the paper's lists. Real ones are "mueve la manzana al vaso verde" or "Bewegen Sie den Apfel in die
# > rote Tasse"; "multi-lingual" is a handful of instructions.
#
# ### Chain of thought
#
# Plain RT-2 writes no reasoning: eight numbers, nothing else. Whether it "thinks banana, yellow, yellow plate" nobody can
# read. In a separate experiment the PaLM-E variant was fine-tuned for "just a few hundred gradient steps" to write a plan
# first (*paper*; shown by examples, not measured):
#
# > Instruction: I'm hungry. Plan: pick rxbar chocolate. Action: 1 128 124 136 121 158 111 255.
#
# As training data it is one more row. Here is one as the model gets it; `|` marks what it must answer, where the loss is:

# %%
planned = {name: batch[:1] for name, batch in robot.items()} | {"plans": ["pick the hammer"]}
row = policy.rows(planned)
pieces = [policy.tokenizer.convert_ids_to_tokens(i) for i in row.tokens[0, 0].tolist()]
begin = int(row.answer[0, 0].int().argmax())
print(" ".join(pieces[:begin]).replace("\n", "\\n"), "|", " ".join(pieces[begin:]))

# %% [markdown]
# Why can it help? The plan is made of tokens that the numbers can *look at*: "which thing is meant" is settled, in the words in
# which the robot was trained, before the first number is chosen. Whether it does help is a question for an experiment (notebook 3).
#
# ## 8. RT-1 and RT-2 side by side
#
# | | RT-1 | RT-2 | read elsewhere, and not so |
# |---|---|---|---|
# | weights | 35M | 5B, 12B, 55B | "RT-2 = 55B"; "562B" |
# | eyes | EfficientNet-B3, ImageNet | ViT, with the VLM | "ViT-22B" for both (PaLM-E-12B: ViT-4B) |
# | language | one vector of a sentence encoder, through FiLM | the VLM's tokens | "RT-1: no pretrained language" (its sentence encoder is) |
# | robot data | 130k episodes | RT-1's | |
# | web data | none | the VLM's own, about 50% (PaLI-X) or 34% (PaLM-E) of the mixture | "co-fine-tune on robot data" |
# | an action | 11 tokens, base included | 8 numbers, no base | "7 dimensions"; "9 tokens" |
# | spoken | all at once, independently | one after the other | |
# | output layer | one for 256 levels | the VLM's table, 0 new weights | "custom action heads"; "+ 256 tokens" |
# | rate | 3 Hz | 55B 1–3 Hz, 5B about 5 Hz, 12B not reported | "RT-1 5 Hz"; "PaLM-E 0.2 Hz" |
# | seen tasks (RT-2's benchmark) | 92 | 91 (55B), 93 (12B) | "97 / 93 / 90" |
# | unseen, mean | 32 | 62, 62 | "76 / 89 / 93" |
# | symbols | 16 | 82, 36 | "0 / 67 / 84" |
#
# **When to use which?** Not by size: by what is new in your task.
#
# - The same things, the same sentences, a small computer, or a base that must move: **RT-1**. It is as good on what it has
#   seen, has a hundredth to a thousandth of the weights, and is fast.
# - New things, new words, symbols, other languages: **RT-2**, or an open model of its kind (OpenVLA, 7B). Motions that your
#   robot data does not show: neither.
# - Two numbers that hang together (left *and* turning left): one after the other, or a head that can say so.
# - Both: let the large one teach the small one (notebook 4, deployment).
#
# ## 9. What it costs
#
# An answer is: eyes once, picture and prompt once (*prefill*), then a *step* for each further token. Operations are many, but
# look at the bytes: **each step reads every weight of the decoder to make one token.** Counted, not measured:

# %%
from course_lib.rt2.cost import rt2_cost

presets = {"tiny, float32": (vlm.config, 4), "3B, bfloat16": (real, 2), "3B, int8": (real, 1)}
action_bytes = {}
for name, (config, size) in presets.items():
    cost = rt2_cost(config, weight_bytes=size, activation_bytes=max(size, 2))
    steps = 7  # the first of the eight tokens comes out of the prefill
    action_bytes[name] = cost["encoder"].bytes + cost["prefill"].bytes + steps * cost["step"].bytes
    parts = [f"{part} {c.flops / 1e9:.3g} GFLOP {c.bytes / 1e9:.3g} GB" for part, c in cost.items()]
    print(f"{name}: {'; '.join(parts)}\n    an action moves {action_bytes[name] / 1e9:.3g} GB")

# %% [markdown]
# In the 3B a step does a two-hundredth of the prefill's work and moves almost as many bytes. So the two wait for different
# things. How fast are arithmetic and memory where you are?

# %%
from course_lib.measure.speed import best_of, probe

here = best_of(probe(), probe())
for part, cost in rt2_cost(real, weight_bytes=2, activation_bytes=2).items():
    counting, reading = cost.flops / here.flops["bf16"], cost.bytes / here.bandwidth
    print(f"{part:<8} {cost.flops / cost.bytes:>4.0f} operations per byte:", end=" ")
    print(f"{counting:.2f} s for the operations, {reading:.2f} s for the bytes")

# %% [markdown]
# Eyes and prefill do some 170 operations with each byte: on a CPU they wait for arithmetic. A step does **one**: it waits for
# memory, on all of today's machines. On an accelerator, whose arithmetic is hundreds of times faster than its memory, the
# seven steps decide. The bytes of an action and the speed of the memory give a rate that no program exceeds:

# %%
from course_lib.classroom.plots_rt2 import control_rate_figure

show(control_rate_figure(action_bytes, here.bandwidth), "Nothing is faster than its line.")

# %%
took = []
for _ in range(12):
    before = time.perf_counter()
    policy.act(start)
    took.append(time.perf_counter() - before)
median = statistics.median(took[2:])
bound = action_bytes["tiny, float32"] / here.bandwidth
print(f"the tiny model here: {1000 * median:.0f} ms an action, {1 / median:.0f} Hz;", end=" ")
print(f"memory alone would allow {1000 * bound:.1f} ms")

# %% [markdown]
# (A busy computer is slower, in both numbers.) The tiny model is far from its line: it does hundreds of small operations one
# after another, and each has a fixed price. And 55 billion weights are 110 GB in bfloat16, more than one 80 GB accelerator
# holds: RT-2 ran on several TPUs behind a cloud service, asked over the network, at 1 to 3 Hz (*paper*).
#
# > **Spot it.** "Autoregressive decoding is 7 times slower" (and with 8 tokens, 8 times). In RT-1's own ablation it was 2.4
# > times (36 against 15 ms): picture and prompt are read once, whatever the decoder does. Measure; do not multiply.
#
# > **Spot it.** "INT8 for faster inference." It halves the bytes, so the line above moves up. But OpenVLA measured int8 at 1.2 Hz
# > on an A5000, *slower* than 4 bits (3 Hz), and its success fell from 71 to 58%: a robot that answers later acts in another
# > world.
#
# ## 10. Check yourself
#
# Answer aloud, then open.
#
# <details><summary>1. How many weights did RT-2 add to PaLI-X, and what is token 128 after training?</summary>
#
# None. It is still the word "128", and it is also level 128 of each of the seven continuous numbers; the position in the answer
# says which.
# </details>
#
# <details><summary>2. Which positions may the fifth number of an answer look at?</summary>
#
# The picture, the whole prompt, and the first four numbers. (And itself, where it is read to choose the sixth.)
# </details>
#
# <details><summary>3. You add 500 to all positions of a prompt. What happens to Gemma's answer? And to RT-1's?</summary>
#
# Nothing, but for rounding: only distances matter. RT-1 has a learned vector for each of 114 positions and none beyond.
# </details>
#
# <details><summary>4. A robot batch contains no bananas. Does the row "banana" change?</summary>
#
# With the whole vocabulary yes: it is pushed down at every position by its probability. With the loss on action tokens alone
# no, unless it stands in a prompt: then it changes as something that is read.
# </details>
#
# <details><summary>5. RT-2 beats RT-1 by 62 to 32. On what, and on what not?</summary>
#
# On unseen objects, backgrounds and environments. Not on seen tasks (91 and 93 against 92), and neither shows new motions.
# </details>
#
# **Next**: notebook 2 builds every one of these parts in a few lines, finds the bugs of two popular RT-2s, and lets the model
# act.
