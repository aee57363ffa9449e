"""Day 92's experiments: fair comparisons, rows that are kept, numbers about attention that mean what they say."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from course_lib.classroom import recipes
from course_lib.classroom.attention_trace import MAPS
from course_lib.classroom.experiments import clones, decoding, rows, scaling
from course_lib.classroom.experiments.__main__ import EXPERIMENTS, main, plan
from course_lib.classroom.experiments.clones import BareFiLM, Clone, DefaultFiLM, small_scene, some_of
from course_lib.classroom.experiments.gaze import NUMBERS, gaze
from course_lib.datasets import record
from course_lib.learn.checkpoints import MANIFEST, sha256
from course_lib.learn.sweep import file_name, write_row
from course_lib.measure import Outcomes
from course_lib.rt1 import RT1, RT1Config
from course_lib.rt1.ablations import AutoregressiveRT1, ConcatRT1
from course_lib.world.objects import NAMES
from course_lib.world.scenes import two_mode
from course_lib.world.tabletop import SPACE
from course_lib.world.tasks import PICK_TASKS, Goals

FEW = 4


def test_every_experiment_has_three_seeds_of_each_setting_and_says_what_it_is():
    for module in EXPERIMENTS.values():
        runs = module.runs()
        settings = [json.dumps({k: v for k, v in run.items() if k != "seed"}) for run in runs]
        assert all(settings.count(one) == 3 for one in settings) and len(set(map(file_name, runs))) == len(runs)
        assert module.TITLE and module.__doc__


def test_clones_differ_in_what_is_asked_and_in_nothing_else():
    for name, changing in {"scaling": "episodes", "language": "language", "attention": "token_learner"}.items():
        runs = EXPERIMENTS[name].runs(1)
        assert {key for key in runs[0] if len({run[key] for run in runs}) > 1} == {changing}
    shared = set.intersection(*({file_name(r) for r in EXPERIMENTS[n].runs()} for n in ("scaling", "language", "attention")))
    assert shared == {file_name(Clone(seed=seed).run()) for seed in range(3)}  # the plain clone is trained once for all


def test_seeds_share_no_episode_and_none_is_a_test_scene():
    most = max(run["episodes"] for run in scaling.runs())
    assert 5 * most + 64 < clones.DATA_APART and recipes.TEST_SEED + max(clones.TRIALS, 10_000) < recipes.TRAINING_SEED


def test_unseen_combinations_are_of_words_that_were_heard_in_both_places():
    seen, unseen = clones.seen_tasks(), clones.unseen_tasks()
    assert not {t.sentence for t in seen} & {t.sentence for t in unseen} and len(unseen) >= 20
    movers, goals = ({(t.kind, t.goal)[i] for t in seen if t.skill == "move near"} for i in range(2))
    assert {t.kind for t in unseen} <= movers and {t.goal for t in unseen} <= goals


def test_only_the_eight_kinds_lie_on_the_tables():
    goals = Goals.of(clones.seen_tasks()[:60])
    state = small_scene(torch.arange(60), goals)
    assert {NAMES[k] for k in state.kind.flatten().tolist()} <= set(clones.KINDS_USED)


def test_fewer_tasks_are_a_part_of_more_tasks_with_all_their_phrases():
    def things(tasks):
        return {(t.skill, t.kind, t.goal) for t in tasks}

    everything, half, quarter = (some_of(clones.seen_tasks(), part) for part in (1.0, 0.5, 0.25))
    assert set(quarter) < set(half) < set(everything) == set(clones.seen_tasks())
    assert len(things(half)) == round(0.5 * len(things(everything)))
    assert set(half) == {t for t in everything if (t.skill, t.kind, t.goal) in things(half)}


def test_film_starts_differ_as_they_say():
    torch.manual_seed(0)
    x, z = torch.randn(2, 5, 3, 4), torch.randn(2, 7)
    default, bare = DefaultFiLM(5, 7), BareFiLM(5, 7)
    assert not torch.equal(default(x, z), x)
    scale, shift = (layer(z)[:, :, None, None] for layer in (bare.to_scale, bare.to_shift))
    assert torch.allclose(bare(x, z), scale * x + shift, atol=1e-5)


def test_settings_that_do_not_exist_are_refused_with_those_that_do():
    with pytest.raises(ValueError, match="concatenated"):
        Clone(language="shouting")


@pytest.mark.parametrize("language", clones.LANGUAGES)
@pytest.mark.parametrize("token_learner", ["v1.1", "tokens compete"])
def test_every_kind_of_clone_learns_and_listens_as_it_says(language, token_learner):
    settings = Clone(language=language, token_learner=token_learner, episodes=FEW, steps=1, batch=2)
    policy, losses = clones.taught(settings)
    assert len(losses) == 1
    images = torch.rand(1, 1, 3, 64, 64).expand(2, -1, -1, -1, -1)
    words = torch.nn.functional.normalize(torch.randn(2, 384), dim=-1)
    with torch.no_grad():
        one, other = policy(images, words)
    assert torch.equal(one, other) == (language == "none")


@pytest.mark.slow
def test_a_clone_is_trained_and_tested_from_its_settings_alone():
    parts = []
    run = Clone(episodes=FEW, steps=2, batch=2, trials=FEW).run()
    result = clones.clone(run, parts.append)
    assert result == clones.clone(run)
    assert json.loads(json.dumps(result)) == result
    assert result["seen"]["n"] == FEW == len(result["unseen"]["each"]) and set(result["gaze"]) == set(NUMBERS)
    assert parts and all(0 < part < 1 for part in parts)


class Staring:
    """A policy whose K maps are given, whatever it sees."""

    def __init__(self, maps):
        self.maps = torch.as_tensor(maps)

    def reset(self):
        """Nothing to forget."""

    def act(self, observation, trace):
        trace[MAPS] = self.maps.expand(len(observation["image"]), -1, -1, -1)


def test_an_even_gaze_sees_every_thing_by_its_size():
    seen = gaze(Staring(np.full((3, 8, 8), 1 / 64)), PICK_TASKS, scenes=8)
    assert seen["on_target"] == seen["target_area"] == seen["on_target_if_other_named"]
    assert seen["cells"][0] == pytest.approx(64, rel=1e-3)
    assert seen["diversity"] == seen["change"] == [0, 0]


def test_tokens_that_stare_at_different_cells_have_nothing_in_common():
    maps = np.zeros((2, 8, 8))
    maps[0, 0, 0] = maps[1, 7, 7] = 2.5  # sums are brought to 1
    seen = gaze(Staring(maps), PICK_TASKS, scenes=8)
    assert seen["diversity"] == [1, 0] and seen["cells"] == [1, 0]


def test_eyes_that_do_not_hear_the_sentence_do_not_move_with_it():
    torch.manual_seed(0)
    deaf = gaze(ConcatRT1(RT1Config.tiny(history=1)).eval(), PICK_TASKS, scenes=FEW)
    assert deaf["change"] == [0, 0] and deaf["on_target"] == deaf["on_target_if_other_named"]
    listening = RT1(RT1Config.tiny(history=1), film=DefaultFiLM).eval()
    assert gaze(listening, PICK_TASKS, scenes=FEW)["change"][0] > 0


class Pointing:
    """Always moves along one diagonal, or along one axis only."""

    def __init__(self, x, y):
        self.action = np.zeros(len(SPACE), np.float32)
        self.action[[decoding.X, decoding.Y]] = x, y

    def reset(self):
        """Nothing to forget."""

    def act(self, observation):
        return np.tile(self.action, (len(observation["image"]), 1))


def test_mixing_counts_first_actions_towards_the_cups():
    n = 40
    state = two_mode(torch.arange(n), Goals.of([decoding.TASKS[0]] * n))
    apples = int((state.xyz[:, 0, 0] * state.xyz[:, 0, 1] > 0).sum())  # scenes with the apples on the rising diagonal
    assert decoding.mixing(Pointing(0.05, 0.05), n, 2) == {"first_actions": 2 * n, "mixed": 2 * (n - apples)}
    assert decoding.mixing(Pointing(-0.05, 0.05), n, 1) == {"first_actions": n, "mixed": apples}
    assert decoding.mixing(Pointing(0.05, 0.0), n, 1) == {"first_actions": 0, "mixed": 0}


@pytest.mark.parametrize("head", decoding.HEADS)
def test_surprise_is_the_loss_of_whole_actions(head):
    torch.manual_seed(0)
    policy = decoding.HEADS[head](RT1Config.tiny(history=1)).eval()
    data = record(3, decoding.TASKS, seed=5, scene=two_mode)
    every = torch.arange(data.frames)
    words = decoding.InstructionEncoder()(data.sentences())
    batch = {
        "images": data.pictures(every)[:, None],
        "instruction": words[data.task[torch.arange(3).repeat_interleave(data.length)]],
        "actions": data.actions[:, None],
        "valid": torch.ones(data.frames, 1, dtype=torch.bool),
    }
    with torch.no_grad():
        mean = float(policy.loss(batch))
    found = decoding.surprise(policy, data)
    assert found["nats"] == pytest.approx(len(SPACE) * mean, rel=1e-4) and 0 <= found["exact"] <= 1


@pytest.mark.slow
def test_a_decision_is_trained_and_tested_from_its_settings_alone():
    run = {"head": "autoregressive", "seed": 0, "episodes": FEW, "steps": 2, "batch": 2, "trials": FEW}
    result = decoding.decide(run)
    assert result["arg-max"]["n"] == result["sampled"]["n"] == FEW
    assert result["sampled"]["first_actions"] <= FEW * decoding.DRAWS and result["nats"] > 0


def test_all_four_ways_to_decode_can_be_timed():
    for run in decoding.steps_to_time(batch=2).values():
        run()
    assert len(decoding.steps_to_time()) == 4


def test_a_summary_keeps_each_scene_and_counts_by_skill():
    outcomes = Outcomes(
        success=np.array([True, False, True]), length=np.ones(3, int), seed=np.arange(3), instruction=["a"] * 3,
        stopped=np.ones(3, bool), held=np.full(3, -1), target=np.zeros(3, int), skill=np.array([0, 0, 1]),
        failure=["", "timeout", ""],
    )  # fmt: skip
    kept = clones.summary(outcomes)
    assert kept["each"] == "101" and kept["skills"] == {"pick": [1, 2], "move near": [1, 1]}
    assert (kept["n"], kept["successes"], kept["failures"]) == (3, 2, {"timeout": 1})


def made_up(run, won=3):
    """A finished row of a clone."""
    test = {"n": 5, "successes": won, "skills": {"pick": [won, 5]}, "failures": {"wrong object": 1}, "each": "11100"}
    result = {"loss": 0.5, "seen": test, "unseen": test, "gaze": {"on_target": [0.4, 0.01]}}
    return {"run": run, "commit": "abc1234", "hardware": "a machine", "seconds": 2.5, "date": "2026-11-21", "result": result}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """data/ and runs/ in a folder of the test's own."""
    monkeypatch.setattr(recipes, "DATA", tmp_path / "data")
    monkeypatch.setattr(recipes, "RUNS", tmp_path / "runs")
    (tmp_path / "data").mkdir()
    return tmp_path


def test_kept_rows_let_another_session_go_on_where_this_one_stopped(elsewhere):
    some = scaling.runs()[:2]
    rows.folder().mkdir(parents=True)
    for run in some:
        write_row(made_up(run), rows.folder())
    assert rows.keep(EXPERIMENTS)["scaling"] == "2 of 12 runs done"
    for path in rows.folder().iterdir():
        path.unlink()
    assert rows.restore() == 2 and len(list(rows.folder().iterdir())) == 2
    assert rows.rows_of(scaling.runs()) == [made_up(run) for run in some]


def test_every_kept_file_has_a_row_of_the_manifest_that_says_how_far_it_is(elsewhere):
    rows.folder().mkdir(parents=True)
    write_row(made_up(Clone(seed=1).run()), rows.folder())
    rows.keep(EXPERIMENTS)
    manifest = json.loads((recipes.DATA / MANIFEST).read_text())
    files = {path.name for path in recipes.DATA.iterdir()} - {MANIFEST}
    assert set(manifest) == files and all(manifest[name]["sha256"] == sha256(recipes.DATA / name) for name in files)
    row = manifest["day92_scaling.csv"]
    assert row["commit"] == "abc1234" and row["hardware"] == "a machine" and "1 of 12 runs" in row["result"]
    assert row["command"] == "python -m course_lib.classroom.experiments scaling"


def test_a_table_has_one_line_per_run_and_flat_numbers(elsewhere):
    lines = list(csv.DictReader(io.StringIO(rows.table([made_up(Clone(seed=s).run(), won=s) for s in range(2)]))))
    assert [line["seen.successes"] for line in lines] == ["0", "1"]
    assert lines[0]["gaze.on_target"] == "0.4" and lines[0]["gaze.on_target.se"] == "0.01"
    assert lines[0]["unseen.wrong_object"] == "1" and lines[0]["commit"] == "abc1234" and "seen.each" not in lines[0]


def test_rows_become_points_of_their_size():
    some = [made_up(Clone(seed=s, episodes=n).run(), won=s + 1) for s in range(2) for n in (100, 1000)]
    assert scaling.points(some) == [(100, (1, 2), (5, 5)), (1000, (1, 2), (5, 5))]


def test_the_plan_does_seed_0_of_everything_first_and_nothing_twice():
    ((work, runs),) = plan(["language", "scaling"], 3)
    assert work == clones.WORK and [run["seed"] for run in runs] == sorted(run["seed"] for run in runs)
    names = list(map(file_name, runs))
    assert len(set(names)) == len(names) == 9 + 12 - 3
    assert [work for work, _ in plan(["decoding", "language"], 1)] == [decoding.WORK, clones.WORK]


def test_the_command_lists_the_experiments_and_refuses_others(elsewhere, capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in EXPERIMENTS) and "0 of 12" in listed
    with pytest.raises(SystemExit):
        main(["alchemy"])
    with pytest.raises(SystemExit):
        main(["scaling", "--workers", "0"])


def test_the_command_sweeps_and_keeps(elsewhere, monkeypatch):
    asked = []

    def instead(work, runs, folder, **options):
        asked.append((work, len(runs), options["workers"]))
        write_row(made_up(runs[0]), folder)

    monkeypatch.setattr("course_lib.classroom.experiments.__main__.sweep", instead)
    assert main(["scaling", "--seeds", "1", "--workers", "2"]) == 0
    assert asked == [(clones.WORK, 4, 2)] and len(rows.stored()) == 1


def test_autoregressive_heads_share_everything_but_the_order(elsewhere):
    parallel, in_turn = (kind(RT1Config.tiny(history=1)) for kind in (RT1, AutoregressiveRT1))
    extra = set(in_turn.state_dict()) - set(parallel.state_dict())
    assert {name.split(".")[0] for name in extra} == {"action_embedding"}
