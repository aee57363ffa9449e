"""RT-1, part by part: FiLM, FilmEfficientNet, TokenLearner, the decoder, and the policy that joins them."""

from typing import TYPE_CHECKING, Any

from course_lib.rt1.config import RT1Config
from course_lib.rt1.efficientnet import FilmEfficientNet
from course_lib.rt1.film import FiLM
from course_lib.rt1.policy import RT1
from course_lib.rt1.token_learner import TokenLearner

if TYPE_CHECKING:
    from course_lib.rt1.instruction import InstructionEncoder

__all__ = ["RT1", "FiLM", "FilmEfficientNet", "InstructionEncoder", "RT1Config", "TokenLearner"]


def __getattr__(name: str) -> Any:
    """InstructionEncoder is imported on first use: it brings a language model's tokenizer along."""
    if name == "InstructionEncoder":
        from course_lib.rt1.instruction import InstructionEncoder  # noqa: PLC0415

        return InstructionEncoder
    raise AttributeError(f"course_lib.rt1 has no {name!r}. There are {', '.join(__all__)}.")
