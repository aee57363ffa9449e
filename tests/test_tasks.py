"""Tasks, the scenes that go with them, and the experts that solve them."""

import math
from collections import Counter

import pytest
import torch

from course_lib.world import PICK_TASKS, known_instructions, tasks
from course_lib.world.experts import expert
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.scenes import CLEAR, draw_kinds, scene
from course_lib.world.state import DRAWER_OPEN
from course_lib.world.tabletop import SPACE, replace, reset, step
from course_lib.world.tasks import ALL_TASKS, SHARE, SKILLS, UNSEEN, Goals, Task, draw_tasks, skill_tasks, success


def drawn(n, seed=0, of=ALL_TASKS):
    """(seeds, goals) of n random tasks."""
    seeds = torch.arange(seed, seed + n)
    return seeds, Goals.of(of)[draw_tasks(seeds, of)]


def solve(state, goals, steps=40):
    """(success at the expert's stop, stopped, largest number of steps)."""
    done, stopped = torch.zeros(len(state), dtype=torch.bool), torch.zeros(len(state), dtype=torch.bool)
    for _ in range(steps):
        action = expert(state, goals)
        state = step(state, action)
        stops = (action[:, -1] > 0) & ~stopped
        done |= stops & success(state, goals)
        stopped |= stops
    return done, stopped


@pytest.mark.parametrize("objects", [3, 5])
@pytest.mark.parametrize("skill", SKILLS)
def test_the_expert_succeeds_in_at_least_98_percent_of_scenes_and_stops_itself(skill, objects):
    seeds, goals = drawn(300, 1000, skill_tasks(skill))
    done, stopped = solve(scene(seeds, goals, objects), goals)
    assert done.float().mean() >= 0.98 and stopped.all()


@pytest.mark.parametrize("skill", SKILLS)
def test_no_scene_starts_with_its_task_done_and_a_still_robot_never_does_it(skill):
    seeds, goals = drawn(300, 5000, skill_tasks(skill))
    state = scene(seeds, goals)
    assert not success(state, goals).any()
    for _ in range(3):
        state = step(state, torch.zeros(300, len(SPACE)))
    assert not success(state, goals).any()


def test_the_expert_recovers_from_the_wrong_object_in_its_hand():
    seeds = torch.arange(50)
    state = reset(seeds, torch.tensor([[0, 1, 2]]).expand(50, -1))
    grip = torch.zeros(50, len(SPACE))
    grip[:, 6] = 1
    state = step(replace(state, gripper=torch.cat([state.xyz[:, 1, :2], torch.full((50, 1), 0.02)], 1)), grip)
    assert (state.held == 1).all()
    goals = Goals.of([Task(0, "pick apple")] * 50)
    assert solve(state, goals)[0].all()


def test_the_expert_recovers_from_steps_that_went_astray():
    seeds, goals = drawn(400, 9000)
    state = scene(seeds, goals)
    done = torch.zeros(400, dtype=torch.bool)
    noise = torch.Generator().manual_seed(0)
    for t in range(60):
        action = expert(state, goals)
        done |= (action[:, -1] > 0) & success(state, goals)
        if t < 12:
            astray = torch.rand(400, 1, generator=noise) < 0.25
            action[:, :3] = torch.where(astray, 0.1 * torch.rand(400, 3, generator=noise) - 0.05, action[:, :3])
            action[:, 6] = torch.where(astray[:, 0], -action[:, 6], action[:, 6])
        state = step(state, action)
    assert done.float().mean() >= 0.98


def test_expert_steps_lie_on_whole_centimetres():
    seeds, goals = drawn(300)
    state = scene(seeds, goals)
    for _ in range(8):
        action = expert(state, goals)
        centimetres = action[:, :3] * 100
        assert torch.allclose(centimetres, centimetres.round(), atol=1e-4) and centimetres.abs().max() <= 5.0001
        state = step(state, action)


def test_people_differ_in_height_and_route():
    state = reset(torch.arange(200), torch.tensor([[0, 1, 2]]).expand(200, -1))
    state = replace(state, gripper=torch.tensor([[0.0, 0.0, 0.12]]).expand(200, -1))
    state = replace(state, xyz=state.xyz + torch.tensor([1.0, 1.0, 0.0]))  # all objects far away, on one diagonal
    first = expert(state, Goals.of([Task(0, "pick apple")] * 200))[:, :3]
    ways = Counter(tuple(round(100 * x) for x in row) for row in first.tolist())
    assert {(5, 0), (0, 5), (5, 5)} <= {way[:2] for way in ways} and len({way[2] for way in ways}) == 3
    assert max(ways.values()) > 60  # and yet there is a usual way


def test_picking_needs_the_right_object_and_the_height():
    state = reset(torch.tensor([0]), torch.tensor([[4, 5, 6]]))
    up = replace(state, held=torch.tensor([1]), gripper=torch.tensor([[0.0, 0.0, 0.12]]))
    five, four, none = (Goals.of([Task(kind, "")]) for kind in (5, 4, -1))
    assert success(up, five).item() and not success(up, four).item() and not success(up, none).item()
    assert not success(replace(up, gripper=torch.tensor([[0.0, 0.0, 0.08]])), five).item()
    assert not success(replace(up, held=torch.tensor([-1])), five).item()


def test_moving_near_needs_both_objects_side_by_side_and_the_hand_open():
    state = reset(torch.tensor([0]), torch.tensor([[0, 1]]))
    near = replace(state, xyz=torch.tensor([[[0.0, 0.0, 0.0], [0.09, 0.0, 0.0]]]))
    goals = Goals.of([Task(0, "", "move near", 1)])
    assert success(near, goals).item()
    assert not success(replace(near, held=torch.tensor([0])), goals).item()
    assert not success(replace(near, xyz=torch.tensor([[[0.0, 0.0, 0.0], [0.11, 0.0, 0.0]]])), goals).item()
    assert not success(near, Goals.of([Task(0, "", "move near", 2)])).item()


def test_upright_and_knocked_over_are_opposites():
    can = kind_index("coke can")
    state = reset(torch.tensor([0]), torch.tensor([[can]]))
    up, over = Goals.of([Task(can, "", "place upright")]), Goals.of([Task(can, "", "knock over")])
    assert success(state, up).item() and not success(state, over).item()
    lying = replace(state, tilt=torch.tensor([[-math.pi / 2]]))
    assert success(lying, over).item() and not success(lying, up).item()


def test_drawers_count_as_open_and_closed_near_their_ends_only():
    state = replace(reset(torch.tensor([0]), torch.tensor([[0]])), cabinet=torch.tensor([True]))
    opened, shut = (Goals.of([Task(-1, "", skill, drawer=1)]) for skill in ("open drawer", "close drawer"))
    for opening, is_open, is_shut in ((0.0, False, True), (0.05, False, False), (DRAWER_OPEN, True, False)):
        now = replace(state, drawer=torch.tensor([[0.1 - opening, opening]]))
        assert success(now, opened).item() == is_open and success(now, shut).item() == is_shut
    assert not success(replace(now, cabinet=torch.tensor([False])), opened).item()


def test_into_and_out_of_need_the_hand_open_and_the_right_place():
    bowl = kind_index("bowl")
    state = reset(torch.tensor([0]), torch.tensor([[0, bowl]]))
    into, out = Goals.of([Task(0, "", "place into", bowl)]), Goals.of([Task(0, "", "pick from", bowl)])
    drawer = Goals.of([Task(0, "", "place into", -1, 1)])
    inside = replace(state, inside=torch.tensor([[1, -1]]))
    assert success(inside, into).item() and not success(inside, out).item() and not success(inside, drawer).item()
    assert success(state, out).item() and not success(state, into).item()
    assert success(replace(state, inside=torch.tensor([[2 + 1, -1]])), drawer).item()
    assert not success(replace(inside, held=torch.tensor([0])), into).item()


def test_a_scene_holds_what_the_task_mentions_and_nothing_else_that_its_words_could_mean():
    seeds, goals = drawn(600)
    kinds = draw_kinds(seeds, goals, 5)
    words = [kind.word for kind in KINDS]
    for row, kind, goal in zip(kinds.tolist(), goals.kind.tolist(), goals.goal.tolist(), strict=True):
        named = [k for k in (kind, goal) if k >= 0]
        assert set(named) <= set(row) and len(set(row)) == 5
        assert all(sum(words[k] == words[n] for k in row) == 1 for n in named)
        assert not {KINDS[k].name for k in row} & set(UNSEEN)
    with pytest.raises(ValueError, match="1 to 8 objects"):
        draw_kinds(seeds, goals, 9)
    with pytest.raises(ValueError, match="mention two objects"):
        draw_kinds(seeds, goals, 1)


def test_what_a_task_brings_together_starts_apart():
    seeds, goals = drawn(500, 0, skill_tasks("move near") + skill_tasks("place into"))
    state = scene(seeds, goals)
    a = state.xyz[torch.arange(500), tasks.target_place(state, goals.kind), :2]
    home = tasks.target_home(state, goals)
    b = state.xyz[torch.arange(500), home.clamp(min=0), :2]
    gap = (a - b).norm(dim=-1)[home >= 0]
    assert gap.min() > 0.8 * CLEAR - 1e-4 and (gap > CLEAR).float().mean() > 0.8


def test_cabinets_and_lying_cans_also_stand_around_where_no_task_asks_for_them():
    seeds, goals = drawn(600, 0, PICK_TASKS)
    state = scene(seeds, goals)
    assert 0.15 < state.cabinet.float().mean() < 0.35
    assert (state.tilt != 0).any() and (state.drawer > 0).any()


def test_tasks_are_drawn_by_their_skills_share():
    _, goals = drawn(20_000)
    counts = torch.bincount(goals.skill, minlength=8) / 20_000
    assert torch.allclose(counts, torch.tensor(SHARE), atol=0.012)  # 4 standard deviations of the largest


def test_only_the_skills_that_are_there_are_drawn():
    some = skill_tasks("open drawer")[:2] + skill_tasks("pick")[:1]
    _, goals = drawn(500, 0, some)
    assert set(goals.skill.tolist()) == {SKILLS.index("open drawer"), SKILLS.index("pick")}


def test_every_instruction_is_found_again_however_it_is_spelled():
    assert len(set(known_instructions())) == len(known_instructions())
    for sentence in known_instructions():
        assert tasks.find_task(f"  {sentence.capitalize()}. ").sentence == sentence
    assert tasks.find_task("could you hand me the sponge please").kind == NAMES.index("sponge")
    near = tasks.find_task("move apple near sponge")
    assert (near.skill, NAMES[near.kind], NAMES[near.goal]) == ("move near", "apple", "sponge")
    with pytest.raises(ValueError, match="with one of: apple"):
        tasks.find_task("make tea")
    with pytest.raises(ValueError, match="Did you mean 'open the left drawer'"):
        tasks.find_task("opne the left drawer")
    with pytest.raises(ValueError, match="Did you mean 'knock over'"):
        skill_tasks("knock")


def test_plates_are_stood_on_and_bowls_and_drawers_are_filled():
    said = set(known_instructions())
    assert {"place apple onto plate", "put the apple in the bowl", "place apple into left drawer"} <= said
    assert not any("into plate" in s or "in the plate" in s for s in said)


def test_a_missing_target_is_named_with_what_is_there():
    state = reset(torch.tensor([0]), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="There is no hammer on table 0: it holds apple, banana, orange"):
        tasks.target_place(state, torch.tensor([NAMES.index("hammer")]))
    with pytest.raises(ValueError, match="names no object"):
        tasks.target_place(state, torch.tensor([-1]))
    with pytest.raises(ValueError, match="needs a bowl, but on the table are: apple, banana"):
        scene(torch.tensor([0]), Goals.of(skill_tasks("pick from")[:1]), kinds=torch.tensor([[0, 1]]))
