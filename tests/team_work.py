"""What the processes of test_team do: torchrun starts ``python team_work.py FOLDER JOB ...``; a job is one training."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from small_rt1 import config
from small_rt2 import small_policy

from course_lib.learn import Schedule, behaviour_clone, co_fine_tune
from course_lib.learn.checkpoints import write_tensors
from course_lib.learn.team import share, team_of
from course_lib.rt1 import RT1

STEPS = 8
SCHEDULE = Schedule(steps=STEPS, lr=0.01, warmup=2, bf16=False)


def windows(step):
    """Five windows, of which some end early: two processes get two and three, with other numbers of valid steps."""
    policy_config = config()
    batch = policy_config.fake_batch(5, seed=step)
    batch["valid"] = torch.arange(3) < torch.tensor([3, 1, 2, 3, 1])[:, None]
    return batch


def robot_and_web(step):
    """Four pictures with instructions, and four with two questions each; their losses are added."""
    rng = torch.Generator().manual_seed(step)
    images = torch.randint(256, (2, 4, 16, 16, 3), generator=rng, dtype=torch.uint8)
    actions = torch.rand(4, 11, generator=rng) * 0.02
    actions[:, -1] = 0
    robot = {"images": images[0], "instructions": ["pick apple", "pick up the can"] * 2, "actions": actions}
    web = {
        "images": images[1],
        "questions": [["what is red", "where is the can"]] * 4,
        "answers": [["apple", "<loc0256>"]] * 4,
    }
    return {"parts": {"robot": robot, "web": web}, "shares": {"robot": 0.5, "web": 0.5}}


def robot(step):
    """Robot frames alone, with weights."""
    return robot_and_web(step)["parts"]["robot"] | {"weights": torch.tensor([1.0, 2.0, 0.5, 0.0])}


def rt1(**changes):
    torch.manual_seed(0)
    return RT1(config(**changes))


JOBS = {  # name: a fresh policy, its batches, how it is trained
    "rt1": (rt1, windows, behaviour_clone),
    "rt2": (small_policy, robot, behaviour_clone),
    "co-fine-tuning": (small_policy, robot_and_web, lambda *what, **how: co_fine_tune(*what, last_layers=1, **how)),
    "dropout": (lambda: rt1(dropout=0.2), windows, behaviour_clone),
}


def killed_once(folder, batches):
    """The second process is killed at step 6 of the first attempt, as by a power cut."""

    def give(step):
        marker = folder / "killed"
        if step == 6 and os.environ.get("RANK") == "1" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return batches(step)

    return give


def train(job, batches=None, **options):
    """One training from its beginning: the policy and the losses."""
    make, own, how = JOBS[job]
    policy = make()
    torch.manual_seed(1)
    return policy, how(policy, batches or own, SCHEDULE, progress=False, **options).losses


def normed(x, norm):
    """A step of BatchNorm in training: its output, the slopes of its input and weights, what it remembers."""
    x.requires_grad_()
    y = norm.train()(x)
    (y * torch.arange(y[0].numel()).view(y[0].shape).sin()).sum().backward()
    return {"y": y.detach(), "x": x.grad, "weight": norm.weight.grad, "mean": norm.running_mean, "var": norm.running_var}


def images_to_norm():
    """Five pictures of three channels; the norm's weights are not its first ones."""
    norm = torch.nn.BatchNorm2d(3, momentum=0.3)
    torch.nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(0))
    return torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 + 1, norm


def main(folder, *jobs):
    """Each process writes what it ended with."""
    if "norm" in jobs:
        x, norm = images_to_norm()
        with team_of(norm) as team:
            part = share({"images": x}, team.rank, team.size)["images"].clone()
            write_tensors(normed(part, norm), folder / f"norm.{team.rank}", {})
    for asked in jobs:
        if asked == "norm":
            continue
        job, _, kill = asked.partition(":")
        if os.environ["TORCHELASTIC_RESTART_COUNT"] != "0" and os.environ["RANK"] == "0":
            time.sleep(3)  # the other comes first, and must not take the dead one's address for this one's
        batches = killed_once(folder, JOBS[job][1]) if kill else None
        policy, losses = train(job, batches, resume=folder / f"{job}.state", save_every=3)
        assert type(policy) is not None and not any("Team" in type(m).__name__ for m in policy.modules())
        tensors = dict(policy.state_dict()) | {"losses": torch.tensor(losses, dtype=torch.float64)}
        write_tensors(tensors, folder / f"{job}.{os.environ['RANK']}", {})


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
