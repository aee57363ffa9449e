"""The same robot steps twice: as RT-1 reads them and as RT-2 does, so that one can learn from the other."""

from typing import Any

from course_lib.datasets.windows import Windows


class Pairs(Windows):
    """Windows in two formats: ``{"student": ..., "teacher": ...}``, in which the n valid steps come in the same order.

    ``student`` is what Windows gives. ``teacher`` has images uint8 (n, H, W, 3) · instructions: n sentences · actions
    (n, A): each step by itself.
    """

    def __call__(self, step: int) -> dict[str, dict[str, Any]]:
        """As Windows', in both formats."""
        which, where = self.draw(step)
        batch = self.cut(which, where)
        valid, known = batch["valid"], self.data.sentences()
        said = [known[task] for task in self.data.task[which.to(valid.device)].tolist()]
        times = valid.sum(1).tolist()
        instructions = [sentence for sentence, n in zip(said, times, strict=True) for _ in range(n)]
        steps = {"images": batch["images"][valid], "instructions": instructions, "actions": batch["actions"][valid]}
        return {"student": batch, "teacher": steps}
