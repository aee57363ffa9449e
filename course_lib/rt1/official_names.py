"""The names of Google's released RT-1 variables, one row each: theirs, ours, and how the array is laid out.

Three spellings of the same 732 variables: the training checkpoint's paths (``agent/_actor_network/...``), the
SavedModel's numbers (``model_variables/1`` ... in alphabetical order of the TensorFlow attributes), and a plain name
without framework words (``encoder/block2a/dwconv/kernel``), which error messages use.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from course_lib.rt1.config import RT1Config

SUFFIX, PREFIX = "/.ATTRIBUTES/VARIABLE_VALUE", "agent/_actor_network/"
NOT_THE_ACTOR = re.compile(  # the rest of a training checkpoint or SavedModel
    r"agent/_actor_optimizer/|_CHECKPOINTABLE_OBJECT_GRAPH$|(global_step|save_counter|train_step)$|model_variables/0$"
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How TensorFlow keeps an array that torch keeps otherwise."""

    ours: Callable[[np.ndarray], np.ndarray]  # their array -> ours
    theirs: Callable[[Shape, int], Shape]  # our shape, number of heads -> theirs


SAME = Layout(lambda a: a, lambda s, h: s)
DENSE = Layout(lambda a: a.T, lambda s, h: s[::-1])  # (in, out) -> (out, in)
CONV = Layout(
    lambda a: a.transpose(3, 2, 0, 1), lambda s, h: (s[2], s[3], s[1], s[0])
)  # (kh, kw, in, out) -> (out, in, kh, kw)
DEPTHWISE = Layout(
    lambda a: a.transpose(2, 3, 0, 1), lambda s, h: (s[2], s[3], s[0], s[1])
)  # (kh, kw, C, 1) -> (C, 1, kh, kw)
CONV_AS_DENSE = Layout(lambda a: a[0, 0].T, lambda s, h: (1, 1, *s[::-1]))  # (1, 1, in, out) -> (out, in)
TO_HEADS = Layout(lambda a: a.reshape(len(a), -1).T, lambda s, h: (s[1], h, s[0] // h))  # (D, heads, d) -> (heads d, D)
HEADS_BIAS = Layout(lambda a: a.reshape(-1), lambda s, h: (h, s[0] // h))  # (heads, d) -> (heads d,)
FROM_HEADS = Layout(
    lambda a: a.reshape(-1, a.shape[-1]).T, lambda s, h: (h, s[1] // h, s[0])
)  # (heads, d, D) -> (D, heads d)


@dataclass(frozen=True)
class Variable:
    """One variable of the release."""

    name: str  # plain name
    checkpoint: str  # path in the training checkpoint, after ``agent/_actor_network/``
    ours: str  # key of RT1's state_dict
    layout: Layout


def official_variables(config: RT1Config) -> list[Variable]:
    """Every variable of the release with this configuration, in the SavedModel's order (number 1 comes first)."""
    rows = list(_dense("action_token_embedding", "_action_token_emb", "action_embedding")) if config.action_embedding else []
    rows += _encoder(config)
    for part, ours in (("hidden", "hidden"), ("output", "output")):
        rows += _dense(
            f"token_learner/mlp/{part}", f"_image_tokenizer/_token_learner/mlp/_{part}_layer", f"token_learner.{ours}"
        )
    rows += _norm("token_learner/norm", "_image_tokenizer/_token_learner/layernorm", "token_learner.norm")
    for i in range(config.layers):
        rows += _decoder_layer(f"transformer/layer{i}", f"_transformer/_layers/{i}", f"decoder.layers.{i}")
    rows += _dense("transformer/output", "_transformer/_output_tokens", "decoder.output")
    for leaf, ours in (("kernel", "table"), ("bias", "bias")):
        their, path = f"transformer/position_embedding/{leaf}", f"_transformer/_position_emb/{leaf}"
        rows.append(Variable(their, path, f"decoder.position_{ours}", SAME))
    return [*rows, *_dense("transformer/token_embedding", "_transformer/_token_emb", "decoder.token_embedding")]


def plain_names(config: RT1Config) -> dict[str, str]:
    """Every spelling of every variable -> its plain name."""
    names = {}
    for number, row in enumerate(official_variables(config), 1):
        names |= dict.fromkeys((row.name, row.checkpoint, f"model_variables/{number}"), row.name)
    return names


def short(key: str) -> str:
    """A checkpoint's key without what all of them share."""
    return key.removesuffix(SUFFIX).removeprefix(PREFIX)


def _encoder(config: RT1Config) -> Iterator[Variable]:
    root = "_image_tokenizer/_tokenizer"
    yield Variable("encoder/head/conv1x1/kernel", f"{root}/conv1x1/kernel", "encoder.to_map.weight", CONV)
    for number, layer in enumerate(_graph(config)):  # Keras counts the layers that own variables, in graph order
        kind, name, ours = layer
        yield from kind(name, f"{root}/net/layer_with_weights-{number}", ours)
    yield from _film("encoder/head/film", f"{root}/film_layer", "encoder.film")


def _graph(config: RT1Config) -> Iterator[tuple[Callable, str, str]]:
    """EfficientNet's layers with variables: (kind, plain name, our name)."""
    yield _image_norm, "encoder/normalization", "encoder.normalise"
    yield _conv, "encoder/stem/conv", "encoder.stem"
    yield _batch_norm, "encoder/stem/bn", "encoder.stem_norm"
    for s, stage in enumerate(config.trunk.stages):
        for r in range(stage.repeats):
            place = f"{s + 1}{chr(ord('a') + r)}"
            their, our = f"encoder/block{place}", f"encoder.blocks.{place}"
            if stage.expansion > 1:
                yield _conv, f"{their}/expand_conv", f"{our}.expand"
                yield _batch_norm, f"{their}/expand_bn", f"{our}.expand_norm"
            yield _depthwise, f"{their}/dwconv", f"{our}.depthwise"
            yield _batch_norm, f"{their}/dw_bn", f"{our}.depthwise_norm"
            yield _conv_as_dense, f"{their}/se_reduce", f"{our}.squeeze_excite.reduce"
            yield _conv_as_dense, f"{their}/se_expand", f"{our}.squeeze_excite.expand"
            yield _conv, f"{their}/project_conv", f"{our}.project"
            yield _batch_norm, f"{their}/project_bn", f"{our}.project_norm"
            yield _film, f"{their}/film", f"{our}.film"
    yield _conv, "encoder/top/conv", "encoder.top"
    yield _batch_norm, "encoder/top/bn", "encoder.top_norm"


def _decoder_layer(name: str, path: str, ours: str) -> Iterator[Variable]:
    yield from _norm(f"{name}/norm1", f"{path}/layernorm1", f"{ours}.norm1")
    for part in ("key", "output", "query", "value"):
        kernel, bias = (FROM_HEADS, SAME) if part == "output" else (TO_HEADS, HEADS_BIAS)
        their, where, our = f"{name}/attention/{part}", f"{path}/mha1/_{part}_dense", f"{ours}.attention.{part}"
        yield from _dense(their, where, our, kernel, bias)
    yield from _dense(f"{name}/feed_forward", f"{path}/ff", f"{ours}.feed_forward")
    yield from _norm(f"{name}/norm2", f"{path}/layernorm2", f"{ours}.norm2")


def _dense(name: str, path: str, ours: str, kernel: Layout = DENSE, bias: Layout = SAME) -> Iterator[Variable]:
    yield Variable(f"{name}/kernel", f"{path}/kernel", f"{ours}.weight", kernel)
    yield Variable(f"{name}/bias", f"{path}/bias", f"{ours}.bias", bias)


def _conv_as_dense(name: str, path: str, ours: str) -> Iterator[Variable]:
    yield from _dense(name, path, ours, CONV_AS_DENSE)


def _conv(name: str, path: str, ours: str) -> Iterator[Variable]:
    yield Variable(f"{name}/kernel", f"{path}/kernel", f"{ours}.weight", CONV)


def _depthwise(name: str, path: str, ours: str) -> Iterator[Variable]:
    yield Variable(f"{name}/kernel", f"{path}/depthwise_kernel", f"{ours}.weight", DEPTHWISE)


def _norm(name: str, path: str, ours: str) -> Iterator[Variable]:
    for leaf, our in (("gamma", "weight"), ("beta", "bias")):
        yield Variable(f"{name}/{leaf}", f"{path}/{leaf}", f"{ours}.{our}", SAME)


def _batch_norm(name: str, path: str, ours: str) -> Iterator[Variable]:
    for leaf, our in (("moving_mean", "running_mean"), ("moving_variance", "running_var")):
        yield Variable(f"{name}/{leaf}", f"{path}/{leaf}", f"{ours}.{our}", SAME)
    yield from _norm(name, path, ours)


def _image_norm(name: str, path: str, ours: str) -> Iterator[Variable]:
    for leaf in ("mean", "variance", "count"):
        yield Variable(f"{name}/{leaf}", f"{path}/{leaf}", f"{ours}.{leaf}", SAME)


def _film(name: str, path: str, ours: str) -> Iterator[Variable]:
    yield from _dense(f"{name}/add", f"{path}/_projection_add", f"{ours}.to_shift")
    yield from _dense(f"{name}/mult", f"{path}/_projection_mult", f"{ours}.to_scale")
