"""Training: it learns, it can be interrupted, it resumes to the same weights."""

import json
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from course_lib.learn import Schedule, behaviour_clone, load_checkpoint, save_checkpoint
from course_lib.learn.checkpoints import MANIFEST, sha256

SCHEDULE = Schedule(steps=30, lr=0.05, warmup=3, bf16=False)


@dataclass(frozen=True)
class Width:
    """A config as checkpoints need it."""

    width: int = 4

    def to_dict(self):
        return {"width": self.width}

    @classmethod
    def from_dict(cls, plain):
        return cls(**plain)


class Line(nn.Module):
    """Learns y = sum(x), with dropout so that the random state matters too."""

    config_class = Width

    def __init__(self, config=None):
        super().__init__()
        self.config = config or Width()
        self.layer = nn.Linear(self.config.width, 1)

    def loss(self, batch):
        x = nn.functional.dropout(batch["x"], 0.1, self.training)
        return ((self.layer(x)[:, 0] - batch["x"].sum(1)) ** 2).mean()


def batches(step):
    return {"x": torch.randn(16, 4, generator=torch.Generator().manual_seed(step))}


def fresh():
    torch.manual_seed(0)
    return Line()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Stop:
    """Presses Ctrl-C after a step."""

    def __init__(self, at):
        self.at = at

    def __call__(self, step, loss):
        if step + 1 == self.at:
            raise KeyboardInterrupt


def test_the_loss_falls():
    history = behaviour_clone(fresh(), batches, SCHEDULE, progress=False)
    assert history.finished and len(history.losses) == 30
    assert sum(history.losses[-5:]) < 0.3 * sum(history.losses[:5])


@pytest.mark.parametrize("at", [1, 7, 29])
def test_interrupted_and_resumed_training_gives_the_weights_of_an_uninterrupted_one(tmp_path, at):
    whole, broken = fresh(), fresh()
    torch.manual_seed(5)
    losses = behaviour_clone(whole, batches, SCHEDULE, progress=False).losses
    torch.manual_seed(5)
    state = tmp_path / "run.state"
    first = behaviour_clone(broken, batches, SCHEDULE, progress=False, resume=state, on_step=Stop(at))
    assert not first.finished and len(first.losses) == at
    torch.manual_seed(99)
    resumed = fresh()
    second = behaviour_clone(resumed, batches, SCHEDULE, progress=False, resume=state)
    assert second.finished and second.losses == losses and same(resumed, whole)


def test_a_killed_run_resumes_from_its_last_save(tmp_path):
    def power_cut(step, loss):
        if step == 12:
            raise OSError("power")

    state = tmp_path / "run.state"
    with pytest.raises(OSError, match="power"):
        behaviour_clone(fresh(), batches, SCHEDULE, progress=False, resume=state, save_every=5, on_step=power_cut)
    assert behaviour_clone(fresh(), batches, SCHEDULE, progress=False, resume=state).finished


def test_a_state_of_another_run_is_refused(tmp_path):
    state = tmp_path / "run.state"
    behaviour_clone(fresh(), batches, SCHEDULE, progress=False, resume=state)
    with pytest.raises(ValueError, match="belongs to another run"):
        behaviour_clone(fresh(), batches, Schedule(steps=31, bf16=False), progress=False, resume=state)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    policy = fresh()
    before = [p.clone() for p in policy.parameters()]
    with pytest.raises(ValueError, match=r"diverged\. Try a smaller lr"):
        behaviour_clone(policy, lambda step: {"x": torch.full((2, 4), torch.nan)}, SCHEDULE, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))


def test_nothing_to_train_is_explained():
    policy = fresh().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameters to train"):
        behaviour_clone(policy, batches, SCHEDULE, progress=False)


def test_the_learning_rate_grows_then_falls_to_its_end():
    schedule = Schedule(steps=100, lr=1.0, warmup=10, final=0.1)
    rates = [schedule.rate(step) for step in range(101)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and max(rates) <= 1.0
    assert rates[100] == pytest.approx(0.1) and rates[10:] == sorted(rates[10:], reverse=True)
    with pytest.raises(ValueError, match="steps >= 1"):
        Schedule(steps=0)


def test_biases_are_not_pulled_to_zero():
    policy = fresh()
    with torch.no_grad():
        policy.layer.weight.fill_(1.0)
        policy.layer.bias.fill_(1.0)
    policy.loss = lambda batch: 0 * policy.layer.weight.sum() + 0 * policy.layer.bias.sum()
    behaviour_clone(policy, batches, Schedule(steps=5, lr=0.1, warmup=0, weight_decay=0.5, bf16=False), progress=False)
    assert policy.layer.bias.item() == 1.0 and policy.layer.weight.max() < 1.0


def test_a_checkpoint_comes_back_with_its_config_in_eval_mode(tmp_path):
    model = Line(Width(6))
    path = save_checkpoint(model, tmp_path / "line.safetensors", success="high")
    again = load_checkpoint(path, Line)
    assert again.config.width == 6 and same(model, again) and not again.training
    assert list(tmp_path.iterdir()) == [path]  # nothing half-written beside it


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = save_checkpoint(fresh(), tmp_path / "line.safetensors")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_checkpoint(path, Line)


def test_a_tampered_checkpoint_is_refused_and_the_way_out_named(tmp_path):
    path = save_checkpoint(fresh(), tmp_path / "line.safetensors")
    (tmp_path / MANIFEST).write_text(json.dumps({path.name: {"sha256": sha256(path), "command": "make it"}}))
    load_checkpoint(path, Line)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"expected sha256 .* got .*git checkout .*rebuild: make it"):
        load_checkpoint(path, Line)


class Other(Line):
    """Another model."""


class Taller(Line):
    """Claims to be a Line but has one more layer."""

    def __init__(self, config=None):
        super().__init__(config)
        self.extra = nn.Linear(2, 2)


Taller.__name__ = "Line"


def test_another_models_checkpoint_is_refused_with_a_table_of_what_does_not_fit(tmp_path):
    path = save_checkpoint(fresh(), tmp_path / "line.safetensors")
    with pytest.raises(ValueError, match=r"Expected a Other .* says 'Line'"):
        load_checkpoint(path, Other)
    with pytest.raises(ValueError, match=r"(?s)2 tensors differ.*extra.bias +\(2,\) +absent"):
        load_checkpoint(path, Taller)


def test_weights_with_nan_are_refused(tmp_path):
    model = fresh()
    with torch.no_grad():
        model.layer.bias.fill_(torch.nan)
    path = save_checkpoint(model, tmp_path / "line.safetensors")
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in layer\.bias"):
        load_checkpoint(path, Line)


def test_a_missing_checkpoint_names_those_that_are_there(tmp_path):
    save_checkpoint(fresh(), tmp_path / "line.safetensors")
    with pytest.raises(ValueError, match=r"Checkpoints in that folder: line\.safetensors"):
        load_checkpoint(tmp_path / "lime.safetensors", Line)
