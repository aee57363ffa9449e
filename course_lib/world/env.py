"""The tabletop as Gymnasium environments: one table (TabletopEnv) or N at once (TabletopVectorEnv).

Both are thin shells over ``tabletop``, ``tasks`` and ``render``; the single one is the vector one with N = 1, so there is
one physics and one picture. ``import course_lib.world`` registers ``course_lib/Tabletop-v0`` for ``gymnasium.make`` and
``gymnasium.make_vec``.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Text
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from course_lib.world import contact
from course_lib.world import tasks as tasks_
from course_lib.world.objects import kind_index
from course_lib.world.render import label_names, render, segment
from course_lib.world.scenes import OBJECTS, scene
from course_lib.world.tabletop import SPACE, TabletopState, stack, step
from course_lib.world.tasks import ALL_TASKS, Goals, Task, find_task
from course_lib.world.textures import TEXTURES, table_number

ENV_ID = "course_lib/Tabletop-v0"
MAX_STEPS = 40  # per task: 13 s of a robot at 3 Hz; an undisturbed expert needs 5 to 20
_LETTERS = string.ascii_letters + "áéíóúñäöüß"  # English, Spanish, German
_SENTENCE = Text(160, min_length=1, charset=_LETTERS + string.digits + " .,!?'-:")


def _observation_space(size: int) -> Dict:
    return Dict({"image": Box(0, 255, (size, size, 3), np.uint8), "instruction": _SENTENCE})


class TabletopVectorEnv(VectorEnv):
    """N tables, one instruction each.

    Description: a robot arm over a table sees the table from above at an angle and is asked for one of RT-1's eight
        skills: pick, move near, place upright, knock over, open or close a drawer, place into, pick from.
    Action space: ``Box`` of 11 numbers in ``ActionSpace.workbook()``'s order and units; beyond the limits is clipped;
        ``terminate`` >= 0.5 ends the episode; NaN or a wrong shape raise ValueError.
    Observation space: ``image`` uint8 (64, 64, 3) and ``instruction``, a sentence.
    Starting state: see ``scenes``; open gripper above the middle. All of it, and all later noise, follows from the
        episode's seed. ``options``: ``task`` (a sentence or a Task; a tuple of them is done one after another; a list has
        one entry per table), ``kinds`` (names of the objects on every table, or a list of such lists, one per table) and
        ``texture`` (number of the table top, or a list); ``options_of`` makes all three from a split's trials.
    Info: ``success`` (is the task done now?), ``skill``, ``target``, ``goal`` (indices; kinds, -1 for none), ``stage`` of a
        chain, ``held`` and ``touched`` (kind in the hand, kind pushed in this step, -1 for none), ``missed`` (closed on
        nothing).
    Reward: 1 on the last step of a successful episode, else 0.
    Episode end: terminated when the policy says so, truncated after ``max_steps`` per task. The step after the end
        resets (``AutoresetMode.NEXT_STEP``). In a chain of tasks, a stop with the task done leads to the next one.
    Arguments: ``tasks`` to draw from, ``objects`` on the table, picture ``size``, ``max_steps``, ``device``, and ``scene``,
        which makes the tables (``scenes.scene``, or for example ``scenes.two_mode``).
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        tasks: tuple[Task, ...] = ALL_TASKS,
        objects: int = OBJECTS,
        size: int = 64,
        max_steps: int = MAX_STEPS,
        device: str = "cpu",
        render_mode: str | None = None,
        scene: Callable[..., TabletopState] = scene,
    ):
        if not tasks:
            raise ValueError("Expected at least one task to draw from, got none. Try tasks=ALL_TASKS.")
        self.num_envs, self.tasks, self.objects, self.size = num_envs, tuple(tasks), objects, size
        self._scene = scene
        self.max_steps, self.device, self.render_mode = max_steps, torch.device(device), render_mode
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 3, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = _observation_space(size)
        self.single_action_space = Box(SPACE.low, SPACE.high, dtype=np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.state: TabletopState | None = None

    def reset(self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None):
        """Start new episodes. ``seed`` s gives table i the episode seed s + i; a list gives one each."""
        if seed is not None:
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(
                seed if isinstance(seed, int) else seed[0]
            )
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed)
            if len(seeds) != self.num_envs:
                raise ValueError(f"Expected one seed or {self.num_envs} (one per table), got {len(seeds)}.")
        else:
            seeds = self.np_random.integers(2**62, size=self.num_envs).tolist()
        self._options = dict(options or {})
        unknown = set(self._options) - {"task", "kinds", "texture"}
        if unknown:
            raise ValueError(f"Options are 'task', 'kinds' and 'texture', got {sorted(unknown)}.")
        self._chain: list[tuple[Task, ...]] = [()] * self.num_envs
        self._stage = np.zeros(self.num_envs, int)
        self.state = self._fresh(seeds, range(self.num_envs))
        self._over = np.zeros(self.num_envs, bool)
        self._touched = torch.full_like(self.state.held, -1)
        return self._observe(), self._info()

    def _fresh(self, seeds: list[int], rows) -> TabletopState:
        """New tables for ``rows``; remembers their tasks."""
        seed = torch.tensor(seeds, device=self.device)
        drawn = tasks_.draw_tasks(seed, self.tasks).tolist()
        asked = self._per_table("task", str | Task | tuple)
        for i, row in enumerate(rows):
            chain = self.tasks[drawn[i]] if asked[row] is None else asked[row]
            chain = chain if isinstance(chain, tuple) else (chain,)
            self._chain[row] = tuple(task if isinstance(task, Task) else find_task(task) for task in chain)
            self._stage[row] = 0
        goals = Goals.of([self._chain[row][0] for row in rows], self.device)
        state = self._scene(seed, goals, self.objects, kinds=self._kinds(rows))
        textures = [self._per_table("texture", int)[row] for row in rows]
        if textures[0] is not None:
            number = torch.tensor(textures, device=self.device)
            state = replace(state, table=table_number(number, state.table // TEXTURES))
        return state

    def _kinds(self, rows) -> torch.Tensor | None:
        """What the options lay on the tables, (N, K)."""
        if self._options.get("kinds") is None:
            return None
        names = self._per_table("kinds", str)
        longest = max(map(len, names))  # of all tables: those that begin anew later must fit beside the others
        kinds = [[kind_index(name) for name in names[row]] + [-1] * (longest - len(names[row])) for row in rows]
        return torch.tensor(kinds, device=self.device)

    def _per_table(self, option: str, one: Any) -> list:
        """An option as a list with one entry per table."""
        value = self._options.get(option)
        if option == "kinds" and value is not None and value and isinstance(value[0], str):
            return [list(value)] * self.num_envs
        if value is None or isinstance(value, one):
            return [value] * self.num_envs
        if len(value) != self.num_envs:
            raise ValueError(f"Expected one {option!r} or {self.num_envs} (one per table), got {len(value)}.")
        return list(value)

    def step(self, actions: np.ndarray):
        """One control step of every table."""
        if self.state is None:
            raise ValueError("Expected reset() before step(). Try env.reset(seed=0).")
        actions = torch.as_tensor(np.asarray(actions, dtype=np.float32), device=self.device)
        if actions.ndim != 2 or actions.shape[0] != self.num_envs:
            raise ValueError(
                f"Expected actions ({self.num_envs}, {len(SPACE)}), got {tuple(actions.shape)}: one row per table."
            )
        stop = SPACE.index("terminate")
        actions = actions.clone()
        actions[:, stop] = actions[:, stop].clamp(0, 1).round()  # NaN stays NaN, for the check in tabletop.step
        over, before = self._over, self.state
        self.state = step(self.state, actions)
        self._touched = contact.touched(before, self.state)
        self._reset_finished(over)
        success = self.success
        stopped = (actions[:, stop] >= 0.5).cpu().numpy() & ~over
        lengths = np.array([len(chain) for chain in self._chain])
        onward = stopped & success & (self._stage < lengths - 1)
        self._stage += onward
        terminated = stopped & ~onward
        truncated = (self.state.step.cpu().numpy() >= self.max_steps * lengths) & ~terminated & ~over
        self._over = terminated | truncated
        success = self.success if onward.any() else success
        reward = (success & (self._stage == lengths - 1) & self._over).astype(np.float64)
        return self._observe(), reward, terminated, truncated, self._info()

    def _reset_finished(self, over: np.ndarray) -> None:
        """Fresh tables where the last step ended the episode (their action is ignored)."""
        rows = np.flatnonzero(over).tolist()
        if rows:
            fresh = self._fresh(self.np_random.integers(2**62, size=len(rows)).tolist(), rows)
            at = {row: i for i, row in enumerate(rows)}
            tables = [fresh[at[i] : at[i] + 1] if i in at else self.state[i : i + 1] for i in range(self.num_envs)]
            self.state = stack(tables)

    @property
    def current_tasks(self) -> list[Task]:
        """The task each table is at now (of a chain: the current one)."""
        return [chain[stage] for chain, stage in zip(self._chain, self._stage, strict=True)]

    @property
    def goals(self) -> Goals:
        """The same as tensors."""
        return Goals.of(self.current_tasks, self.device)

    @property
    def success(self) -> np.ndarray:
        """Whether each table's current task is done now, bool (N,)."""
        return tasks_.success(self.state, self.goals).cpu().numpy()

    def _observe(self) -> dict[str, Any]:
        picture = render(self.state, self.size).cpu().numpy()
        return {"image": picture, "instruction": tuple(task.sentence for task in self.current_tasks)}

    def _info(self) -> dict[str, Any]:
        held = self.state.kind.gather(1, self.state.held.clamp(min=0)[:, None])[:, 0]
        goals = self.goals
        last = self._stage == np.array([len(chain) for chain in self._chain]) - 1
        out = {"target": goals.kind, "goal": goals.goal, "skill": goals.skill}
        out["held"] = torch.where(self.state.held >= 0, held, -1)
        out["touched"] = self._touched
        empty = self.state.closed & (self.state.held < 0) & (self.state.handle < 0)
        out["missed"] = empty & (goals.skill != tasks_.KNOCK)  # which wants a fist
        return {"success": self.success & last, "stage": self._stage.copy()} | {k: v.cpu().numpy() for k, v in out.items()}

    def render(self):
        """Pictures for people: uint8 (256, 256, 3) per table, as a tuple."""
        return tuple(render(self.state, 256).cpu().numpy())


class TabletopEnv(gymnasium.Env):
    """One table: ``TabletopVectorEnv`` with N = 1 (see there for spaces, reward and options)."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 3}  # noqa: RUF012  Gymnasium's own type

    def __init__(self, render_mode: str | None = None, **options: Any):
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is None or 'rgb_array', got {render_mode!r}.")
        self.render_mode = render_mode
        self.tables = TabletopVectorEnv(1, **options)
        self.observation_space = self.tables.single_observation_space
        self.action_space = self.tables.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        episode = seed if seed is not None else int(self.np_random.integers(2**62))
        return self._first(*self.tables.reset(seed=episode, options=options))

    def step(self, action: np.ndarray):
        action = np.asarray(action, dtype=np.float32)
        if action.shape != self.action_space.shape:
            raise ValueError(f"Expected an action of {len(SPACE)} numbers {SPACE.names}, got shape {action.shape}.")
        self.tables._over[:] = False  # one table never resets by itself
        observation, reward, terminated, truncated, info = self.tables.step(action[None])
        observation, info = self._first(observation, info)
        return observation, float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    @staticmethod
    def _first(observation: dict, info: dict) -> tuple[dict, dict]:
        one = {"image": observation["image"][0], "instruction": observation["instruction"][0]}
        return one, {name: value[0].item() for name, value in info.items()}

    def render(self) -> np.ndarray | None:
        """A 256-pixel picture for people."""
        return self.tables.render()[0] if self.render_mode == "rgb_array" else None

    def segmentation(self) -> np.ndarray:
        """What each pixel of the camera picture shows: indices into ``labels``, int (H, W)."""
        return segment(self.tables.state, self.tables.size)[0].cpu().numpy()

    @property
    def labels(self) -> list[str]:
        """Names for ``segmentation``: the table, each object, the gripper, and the parts of a cabinet if there is one."""
        return label_names(self.tables.state)


def options_of(trials: Sequence[Any]) -> dict[str, list]:
    """The options of ``reset`` that run a split's trials (``splits.Trial``), one per table."""
    return {
        "task": [trial.task for trial in trials],
        "kinds": [list(trial.kinds) for trial in trials],
        "texture": [trial.texture for trial in trials],
    }


def register() -> None:
    """Make ``gymnasium.make("course_lib/Tabletop-v0")`` work. Safe to call again."""
    if ENV_ID not in gymnasium.registry:
        entry = "course_lib.world.env:"
        gymnasium.register(ENV_ID, entry_point=entry + "TabletopEnv", vector_entry_point=entry + "TabletopVectorEnv")
