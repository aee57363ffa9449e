"""A checkpoint folder as transformers writes it, into our model; and every way in which one can be wrong."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_rt2 import EYES, GENERATIONS, reference, rows

from course_lib.rt2 import PaliGemma, PaliGemmaConfig
from course_lib.rt2.weights import INDEX, find_folder, plain_name, read_config_of, read_state, tensor_names


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Both generations, each in many small shards, and the models they came from."""
    found = {}
    for generation in GENERATIONS:
        model = reference(generation)
        folder = tmp_path_factory.mktemp(f"paligemma{generation}")
        model.save_pretrained(folder, max_shard_size="30KB")
        found[generation] = model, folder
    return found


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(saved[1][1], tmp_path / "copy")


def shard_with(folder, part):
    """The file that holds a tensor with ``part`` in its name, its tensors, and that name."""
    for name, shard in json.loads((folder / INDEX).read_text())["weight_map"].items():
        if part in name:
            return folder / shard, load_file(folder / shard), name
    raise AssertionError(part)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_sharded_folder_gives_the_same_logits_as_the_model_that_wrote_it(saved, generation):
    model, folder = saved[generation]
    assert len(list(folder.glob("*.safetensors"))) > 3
    ours, images_and_text = PaliGemma.from_huggingface(folder), rows()
    with torch.no_grad():
        expected = read_state(ours.config, model.state_dict())(*images_and_text)  # compared with transformers elsewhere
        torch.testing.assert_close(ours(*images_and_text), expected, rtol=0, atol=0)
    assert not ours.training and ours.config == read_config_of(model.config.to_dict())


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_tensor_has_its_partner_on_the_other_side(saved, generation):
    model, folder = saved[generation]
    ours = PaliGemma.from_huggingface(folder)
    theirs = {plain_name(name) for name in model.state_dict()} - {"lm_head.weight"}
    assert set(tensor_names(ours).values()) == theirs and len(theirs) == len(list(ours.parameters()))


def test_all_spellings_that_transformers_ever_wrote_mean_the_same():
    layer, eye = "layers.0.mlp.up_proj.weight", "encoder.layers.0.mlp.fc1.bias"
    for name in (f"language_model.model.{layer}", f"model.language_model.{layer}"):
        assert plain_name(name) == f"language_model.{layer}"
    for name in (f"vision_tower.vision_model.{eye}", f"model.vision_tower.vision_model.{eye}", f"model.vision_tower.{eye}"):
        assert plain_name(name) == f"vision_tower.{eye}"
    assert plain_name("language_model.lm_head.weight") == plain_name("lm_head.weight") == "lm_head.weight"


def test_a_single_file_and_another_precision_are_read_too(saved, tmp_path):
    model, _ = saved[1]
    model.save_pretrained(tmp_path)
    ours = PaliGemma.from_huggingface(tmp_path, dtype=torch.bfloat16)
    assert ours.dtype == torch.bfloat16
    images, *text = rows()
    assert ours(images, *text).dtype == torch.bfloat16


def test_missing_left_over_and_misshapen_tensors_are_listed_by_name(folder):
    path, tensors, name = shard_with(folder, "layers.1.mlp.up_proj")
    tensors["language_model.model.layers.1.mlp.sideways_proj.weight"] = tensors.pop(name)
    save_file(tensors, path)
    path, tensors, name = shard_with(folder, "multi_modal_projector.linear.bias")
    tensors[name] = torch.zeros(31)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="1 tensors missing, 1 left over, 1 of another shape") as caught:
        PaliGemma.from_huggingface(folder)
    table = str(caught.value)
    assert "language_model.layers.1.mlp.up_proj.weight" in table and "absent" in table
    assert "sideways_proj" in table and "(31,)" in table and "(32,)" in table


def test_a_lost_shard_is_named(folder):
    path, _, _ = shard_with(folder, "embed_tokens")
    path.unlink()
    with pytest.raises(ValueError, match=f"lacks {path.name}"):
        PaliGemma.from_huggingface(folder)


def test_a_git_lfs_pointer_or_a_cut_off_file_is_recognised(folder):
    path, _, _ = shard_with(folder, "embed_tokens")
    path.write_bytes(path.read_bytes()[:130])
    with pytest.raises(ValueError, match=r"not a whole safetensors file .* 130 bytes.*git-lfs"):
        PaliGemma.from_huggingface(folder)


def test_a_tied_output_layer_may_be_stored_but_must_be_the_embedding(folder):
    path, tensors, name = shard_with(folder, "embed_tokens")
    table = tensors[name]
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["language_model.lm_head.weight"] = path.name
    (folder / INDEX).write_text(json.dumps(index))
    save_file(tensors | {"language_model.lm_head.weight": table.clone()}, path)
    assert torch.equal(PaliGemma.from_huggingface(folder).language.embedding.weight, table)
    save_file(tensors | {"language_model.lm_head.weight": table + 1}, path)
    with pytest.raises(ValueError, match=r"lm_head\.weight differs from the embedding"):
        PaliGemma.from_huggingface(folder)


def test_a_config_of_another_model_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llava"}))
    with pytest.raises(ValueError, match="describes 'llava' with 'gemma'"):
        PaliGemma.from_huggingface(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        PaliGemma.from_huggingface(folder)


def test_the_short_config_of_the_published_3b_files_means_the_preset():
    """What google/paligemma-3b-pt-224 says; all else is transformers' default."""
    from transformers import PaliGemmaConfig as Config  # noqa: PLC0415 - takes seconds to import

    published = {
        "model_type": "paligemma",
        "text_config": {
            "hidden_size": 2048, "intermediate_size": 16384, "model_type": "gemma", "num_attention_heads": 8,
            "num_hidden_layers": 18, "num_image_tokens": 256, "num_key_value_heads": 1, "vocab_size": 257216,
        },
        "vision_config": {
            "hidden_size": 1152, "intermediate_size": 4304, "model_type": "siglip_vision_model",
            "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "projection_dim": 2048,
        },
    }  # fmt: skip
    assert read_config_of(published) == PaliGemmaConfig.pt_224(257_216)
    assert read_config_of(Config(**published).to_dict()) == PaliGemmaConfig.pt_224(257_216)
    second = published | {"text_config": {"model_type": "gemma2", "vocab_size": 257152}}
    assert read_config_of(second) == PaliGemmaConfig.pt2_224()
    assert read_config_of(Config(**second).to_dict()) == PaliGemmaConfig.pt2_224()


def test_names_that_are_no_folder_say_what_to_try(tmp_path):
    with pytest.raises(ValueError, match=r"There is no folder .*hub name such as"):
        find_folder(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"someone/something could not be had from the hub's local cache.*download=True"):
        find_folder("someone/something")
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor"):
        (tmp_path / "config.json").write_text(
            json.dumps({"model_type": "paligemma", "text_config": {"model_type": "gemma"}, "vision_config": EYES})
        )
        PaliGemma.from_huggingface(tmp_path)
