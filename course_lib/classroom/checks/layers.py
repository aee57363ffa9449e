"""What checks of layers share: build the learner's class, run it, find weights that training would miss.

These functions run beside the learner's code. They may say no (``NotYet``), never yes. torch is imported inside them:
the other half of a check, which judges, does without it.
"""

from collections.abc import Callable
from typing import Any

from course_lib.classroom.checks.base import NotYet

LAYER_HINTS = (  # (pattern in an error message, hint)
    ("mat1 and mat2 shapes", "nn.Linear(inputs, outputs): how many numbers come in, how many go out?"),
    ("positional argument", "The sizes go to __init__, the tensors to forward: compare with the signatures of the stub."),
    ("before Module.__init__", "Call super().__init__() first."),
    ("leaf Variable that requires grad", "An in-place operation on the input. Make a new tensor: y = ... * x."),
)


def build(name: str, kind: Any, *sizes: int) -> Any:
    """``kind(*sizes)``, where ``kind`` must be the learner's own class of an ``nn.Module``."""
    from torch import nn  # noqa: PLC0415

    if isinstance(kind, nn.Module):
        raise NotYet(f"The check builds {name}s of several sizes itself.", f"Give it the class: {name}, not {name}(...).")
    if not callable(kind):
        raise NotYet(f"Expected the class {name}, got a {type(kind).__name__}.", "Give the check the class itself.")
    if any(base.__module__.startswith("course_lib.") for base in getattr(kind, "__mro__", ())):
        raise NotYet(f"This is the course's own {name}.", "Write yours from nn.Linear, or from nn.Parameter.")
    layer = kind(*sizes)
    if not isinstance(layer, nn.Module):
        raise NotYet(
            f"{name} is not an nn.Module, so no optimiser could find its weights.",
            f"class {name}(nn.Module), and super().__init__() first.",
        )
    for part in layer.modules():
        if type(part).__module__.startswith("course_lib."):
            kind = type(part).__name__
            raise NotYet(f"A part of it is the course's own {kind}.", "Write yours from nn.Linear, or from nn.Parameter.")
    return layer


def run(layer: Callable, x: Any, z: Any, hint: str = "") -> Any:
    """One forward pass on copies; says no to a result of another shape or type than x, and to changed inputs."""
    import torch  # noqa: PLC0415

    x_in, z_in = x.clone(), z.clone()
    with torch.no_grad():
        y = layer(x_in, z_in)
    if y is None:
        raise NotYet("forward returns nothing.", "Is a return missing?")
    if not isinstance(y, torch.Tensor):
        raise NotYet(f"forward returns a {type(y).__name__}, expected a tensor like x.", "Return y itself.")
    if y.shape != x.shape:
        raise NotYet(f"The shape of x should stay: expected {tuple(x.shape)}, got {tuple(y.shape)}.", hint)
    if y.dtype != x.dtype:
        raise NotYet(f"The number type should stay: x is {x.dtype}, y is {y.dtype}.", "No .double(), .half() or .long().")
    if not (torch.equal(x_in, x) and torch.equal(z_in, z)):
        raise NotYet(
            "forward changes its input in place: after the call, x (or z) is no longer what it was.",
            "x *= ... and x.mul_(...) write into the caller's picture. Make a new one: y = ... * x.",
        )
    return y


def check_registered(layer: Any) -> None:
    """Weights that .parameters() does not list are neither trained nor saved."""
    from torch import Tensor, nn  # noqa: PLC0415

    for name, value in vars(layer).items():
        members = list(value.values()) if isinstance(value, dict) else value
        if not name.startswith("_") and isinstance(members, (list, tuple)):
            if any(isinstance(member, (nn.Module, Tensor)) for member in members):
                raise NotYet(
                    f"The weights in self.{name} are hidden in a plain {type(value).__name__}: parameters() misses them.",
                    "nn.Module only sees layers and nn.Parameters that are attributes: self.layer = nn.Linear(...), or "
                    "an nn.ModuleList.",
                )
        elif not name.startswith("_") and isinstance(value, Tensor) and value.requires_grad:
            raise NotYet(f"self.{name} is a plain tensor: parameters() misses it.", "Wrap it in nn.Parameter.")
    if not any(True for _ in layer.parameters()):
        raise NotYet(
            "parameters() is empty: there is nothing to train.",
            "Make the layers in __init__ as attributes (a layer made in forward is a new one at every call; a plain "
            "tensor needs nn.Parameter).",
        )
