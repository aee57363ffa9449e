"""Google's released weights into ours: names, shapes, layouts, the reader, the command."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from parity_recipe import FOLDER, all_weights
from tensor_bundle import write_checkpoint

from course_lib.learn.checkpoints import load_checkpoint
from course_lib.rt1 import RT1, RT1Config
from course_lib.rt1.config import EfficientNetConfig, Stage
from course_lib.rt1.official import expected_shapes, from_official, main, released_config
from course_lib.rt1.official_names import official_variables, plain_names, short

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
RELEASED = json.loads((FOLDER / "released_variables.json").read_text())
PRESETS = {"rt1main": RT1Config.paper, "rt1multirobot": RT1Config.multirobot}
TRUNK = EfficientNetConfig.tiny(
    image_height=32, image_width=32, stages=(Stage(1, 3, 1, 1, 8), Stage(2, 3, 2, 2, 12)), top_channels=16, out_channels=16
)


def small_config(**changes):
    trunk = dataclasses.replace(TRUNK, map_positions=False)
    sizes = {"width": 8, "heads": 2, "key_dim": 3, "history": 2, "instruction_dim": 5, "bins": 16, "action_embedding": True}
    return RT1Config.tiny(trunk=trunk, image_height=32, image_width=32, **sizes | changes)


def small_weights(config):
    """Random arrays with TensorFlow's names and shapes, each different."""
    rng = np.random.default_rng(0)
    shapes = expected_shapes(RT1(config))
    return {name: np.abs(rng.normal(1, 0.1, shape)).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module", params=PRESETS)
def released(request):
    return PRESETS[request.param](), RELEASED[request.param]


def test_every_released_variable_has_its_place_and_nothing_is_left_over(released):
    config, table = released
    rows = official_variables(config)
    assert [[row.checkpoint, n, row.name] for n, row in enumerate(rows, 1)] == sorted(
        (r[:3] for r in table), key=lambda r: r[1]
    )
    with torch.device("meta"):  # names, shapes and dtypes without the numbers
        policy = RT1(config)
    assert {row.ours for row in rows} == {key for key in policy.state_dict() if not key.endswith("num_batches_tracked")}
    assert expected_shapes(policy) == {name: tuple(shape) for _, _, name, shape, _ in table}
    dtypes = {row.name: policy.state_dict()[row.ours].dtype for row in rows}
    assert {name: str(dtype).removeprefix("torch.") for name, dtype in dtypes.items()} == {r[2]: r[4] for r in table}


def test_all_three_spellings_mean_the_same_variable(released):
    config, table = released
    names = plain_names(config)
    for path, number, name, _, _ in table:
        keys = (name, f"agent/_actor_network/{path}{SUFFIX}", f"model_variables/{number}{SUFFIX}")
        assert [names[short(key)] for key in keys] == 3 * [name]


@pytest.mark.parametrize("spelling", ["plain", "checkpoint", "saved model"])
def test_weights_load_by_any_spelling(spelling):
    config = small_config()
    weights = small_weights(config)
    spell = {
        "plain": lambda n, row: row.name,
        "checkpoint": lambda n, row: f"agent/_actor_network/{row.checkpoint}{SUFFIX}",
        "saved model": lambda n, row: f"model_variables/{n}{SUFFIX}",
    }[spelling]
    spelled = {spell(n, row): weights[row.name] for n, row in enumerate(official_variables(config), 1)}
    state = from_official(spelled, config).state_dict()
    assert not [k for k, v in from_official(weights, config).state_dict().items() if not torch.equal(v, state[k])]


def test_layouts_do_what_tensorflow_does_with_each_kind_of_array():
    config = small_config()
    w = small_weights(config)
    state = from_official(w, config).state_dict()
    stem = w["encoder/stem/conv/kernel"]  # (kh, kw, in, out)
    assert state["encoder.stem.weight"][3, 1, 2, 4] == stem[2, 4, 1, 3]
    depthwise = w["encoder/block2a/dwconv/kernel"]  # (kh, kw, C, 1)
    assert state["encoder.blocks.2a.depthwise.weight"][5, 0, 2, 1] == depthwise[2, 1, 5, 0]
    assert state["encoder.film.to_scale.weight"][7, 3] == w["encoder/head/film/mult/kernel"][3, 7]
    x = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    query = np.einsum("sd,dhk->shk", x, w["transformer/layer0/attention/query/kernel"])
    query += w["transformer/layer0/attention/query/bias"]
    ours = torch.nn.functional.linear(
        torch.from_numpy(x), *(state[f"decoder.layers.0.attention.query.{p}"] for p in ("weight", "bias"))
    )
    np.testing.assert_allclose(ours.view(4, 2, 3).numpy(), query, rtol=1e-5)
    back = np.einsum("shk,hkd->sd", query, w["transformer/layer0/attention/output/kernel"])
    ours = ours @ state["decoder.layers.0.attention.output.weight"].T
    np.testing.assert_allclose(ours.numpy(), back, rtol=1e-5)


def test_the_optimizer_and_counters_of_a_training_checkpoint_are_skipped():
    config = small_config()
    weights = small_weights(config)
    rest = {f"agent/_actor_optimizer/_variables/{n}{SUFFIX}": np.zeros(3) for n in range(3)}
    rest |= {f"{name}{SUFFIX}": np.zeros(()) for name in ("global_step", "save_counter", "model_variables/0")}
    from_official(weights | rest | {"_CHECKPOINTABLE_OBJECT_GRAPH": np.zeros(())}, config)


def test_a_misfit_is_a_table_of_names_and_shapes():
    config = small_config()
    weights = small_weights(config)
    del weights["encoder/stem/conv/kernel"]
    weights["transformer/output/bias"] = np.zeros(17, np.float32)
    weights["something/else"] = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="3 rows differ") as error:
        from_official(weights, config)
    rows = [line.split("  ") for line in str(error.value).splitlines()[2:]]
    cells = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert cells["encoder/stem/conv/kernel"] == ["(6, 6, 3, 32)", "-"]
    assert cells["transformer/output/bias"] == ["(16,)", "(17,)"]
    assert cells["something/else"] == ["-", "(2, 2)"]


def test_parts_that_the_release_does_not_have_are_named():
    config = small_config()
    with_table = dataclasses.replace(config, trunk=dataclasses.replace(config.trunk, map_positions=True))
    with pytest.raises(ValueError, match=r"encoder\.positions\.table .*only in our model"):
        from_official(small_weights(config), with_table)


def test_the_released_shape_is_recognised_by_the_decoders_width():
    def kernel(width):
        return {"transformer/token_embedding/kernel": np.zeros((512, width), np.float32)}

    assert released_config(kernel(512)) == RT1Config.paper()
    assert released_config(kernel(1024)) == RT1Config.multirobot()


def test_the_dead_action_embedding_is_loaded_and_changes_nothing():
    config = small_config()
    weights = small_weights(config)
    zeroed = weights | {k: np.zeros_like(v) for k, v in weights.items() if k.startswith("action_token_embedding")}
    one, other = from_official(weights, config), from_official(zeroed, config)
    assert not torch.equal(one.action_embedding.weight, other.action_embedding.weight)
    frames, words = torch.rand(1, 2, 3, 32, 32), torch.randn(1, 5)
    assert torch.equal(one(frames, words), other(frames, words))


@pytest.mark.slow
def test_the_command_converts_a_whole_saved_model(tmp_path, capsys):
    weights = all_weights()
    folder = tmp_path / "rt1main" / "variables"
    folder.mkdir(parents=True)
    numbered = {
        f"model_variables/{n}{SUFFIX}": weights[row.name] for n, row in enumerate(official_variables(RT1Config.paper()), 1)
    }
    write_checkpoint(folder, numbered | {f"model_variables/0{SUFFIX}": np.array(424760)})
    out = tmp_path / "rt1main.safetensors"
    assert main([str(tmp_path / "rt1main"), str(out)]) == 0
    assert "35,252,128 parameters" in capsys.readouterr().out
    loaded, expected = load_checkpoint(out, RT1).state_dict(), RT1.from_official(weights).state_dict()
    assert not [k for k in expected if not torch.equal(loaded[k], expected[k])]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rt1main", "rt1main.safetensors"]


def test_the_command_says_what_is_wrong_and_writes_nothing(tmp_path, capsys):
    assert main([str(FOLDER / "small"), str(tmp_path / "out.safetensors")]) == 1
    message = capsys.readouterr().err
    assert "rows differ" in message and "encoder/" in message
    assert main([str(tmp_path), str(tmp_path / "out.safetensors")]) == 1
    assert "no TensorFlow checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.glob("*"))
