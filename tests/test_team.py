"""Several processes: the same losses as one, a killed one comes back, and what cannot be shared is said."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import team_work
import torch

from course_lib.learn.checkpoints import read_tensors
from course_lib.learn.team import device, share, team_of, weight_of

HERE = Path(__file__).parent


def torchrun(folder, *jobs, restarts=0):
    """Two processes on this machine; what each ended with, by job and process."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    work = [f"--max-restarts={restarts}", str(HERE / "team_work.py"), str(folder), *jobs]
    done = subprocess.run([*run, *work], capture_output=True, text=True, timeout=1500, check=False, cwd=HERE)
    assert done.returncode == 0, done.stderr[-3000:]
    names = [job.partition(":")[0] for job in jobs]
    return {job: [read_tensors(folder / f"{job}.{rank}")[0] for rank in range(2)] for job in names}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    return torchrun(tmp_path_factory.mktemp("team"), *team_work.JOBS, "norm")


@pytest.mark.slow
@pytest.mark.parametrize("job", ["rt1", "rt2", "co-fine-tuning"])
def test_two_processes_learn_as_one_with_the_same_batches(together, job):
    policy, losses = team_work.train(job)
    first, second = together[job]
    assert torch.allclose(first["losses"], torch.tensor(losses, dtype=torch.float64), atol=1e-4)
    assert len(losses) == team_work.STEPS and losses[-1] < losses[0]
    assert all(torch.equal(first[name], second[name]) for name in first)
    began, ended = team_work.JOBS[job][0]().state_dict(), policy.state_dict()
    apart, moved = ({n: (x.float() - ended[n].float()).norm() for n, x in y.items() if n in ended} for y in (first, began))
    total_apart, total_moved = (torch.stack([*one.values()]).norm() for one in (apart, moved))
    assert total_apart < 0.02 * total_moved  # Adam makes full steps of tiny gradients too, and those are mostly rounding


@pytest.mark.slow
def test_the_norm_of_two_processes_is_that_of_the_whole_batch(together):
    """Two rows here and three there: the outputs, the slopes of inputs and weights, and what it remembers."""
    whole, parts = team_work.normed(*team_work.images_to_norm()), together["norm"]
    for name in ("y", "x"):
        assert torch.allclose(torch.cat([part[name] for part in parts]), whole[name], atol=1e-4)
    assert torch.allclose(parts[0]["weight"] + parts[1]["weight"], whole["weight"], atol=1e-3)
    for part in parts:
        assert torch.allclose(part["mean"], whole["mean"], atol=1e-6) and torch.allclose(
            part["var"], whole["var"], atol=1e-5
        )


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_the_end_is_as_if_nothing_had_happened(together, tmp_path):
    """Dropout of each process included: every process' random state is saved."""
    again = torchrun(tmp_path, "dropout:kill", restarts=1)["dropout"]
    assert (tmp_path / "killed").exists()
    for mine, other in zip(again, together["dropout"], strict=True):
        assert all(torch.equal(mine[name], other[name]) for name in other)


def test_one_process_is_no_team(monkeypatch):
    policy = team_work.rt1()
    for size in ("", "4"):  # a cluster's variable alone does not make a team
        monkeypatch.setenv("WORLD_SIZE", size)
        with team_of(policy) as team:
            assert team is None
    assert device().type in ("cpu", "cuda")


def test_the_shares_of_a_batch_are_all_of_it():
    batch = team_work.windows(0) | {"note": "abcde", "names": list("abcde"), "numbers": np.arange(5), "scale": 2.0}
    parts = [share(batch, rank, 2) for rank in range(2)]
    assert [len(part["images"]) for part in parts] == [2, 3] and all(part["note"] == "abcde" for part in parts)
    assert parts[0]["names"] + parts[1]["names"] == list("abcde") and parts[1]["numbers"].tolist() == [2, 3, 4]
    assert torch.equal(torch.cat([part["actions"] for part in parts]), batch["actions"]) and parts[0]["scale"] == 2.0
    assert [weight_of(part) for part in parts] == [4.0, 6.0]


def test_a_loss_weighs_as_much_as_it_is_the_mean_of():
    assert weight_of({"images": torch.zeros(3)}) == 3
    assert weight_of({"images": torch.zeros(3), "weights": [0.5, 1.0, 1.0]}) == 2.5


def test_what_cannot_be_shared_is_explained():
    batch = team_work.windows(0)
    with pytest.raises(ValueError, match="5 pictures cannot be shared among 6 processes"):
        share(batch, 0, 6)
    with pytest.raises(ValueError, match="Only batches with images are shared among processes, got student, teacher"):
        share({"student": batch, "teacher": batch}, 0, 2)
    mixed = team_work.robot_and_web(0)
    with pytest.raises(ValueError, match=r"robot, web is not\. Try batch sizes that are multiples of 3"):
        share(mixed, 0, 3)
    mixed["parts"]["web"]["weights"] = torch.ones(4)
    with pytest.raises(ValueError, match="web is not"):
        share(mixed, 0, 2)
