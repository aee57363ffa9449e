"""What every check of an exercise has to hold, whatever the exercise: called by the tests of each."""

import numpy as np

from course_lib.grading.envelope import pack, unpack


def answers():
    """Two empty dictionaries, of right and of wrong answers by name, and the decorators that fill them.

    A wrong one is kept as (answer, words of the message it deserves, state of the check).
    """
    rights, wrongs = {}, {}

    def right(answer):
        rights[answer.__name__] = answer
        return answer

    def wrong(message, state="not yet"):
        def keep(answer):
            wrongs[answer.__name__] = (answer, message, state)
            return answer

        return keep

    return rights, wrongs, right, wrong


def accepted(exercise, answer, seeds=4):
    """A right answer passes on any inputs, and what the experiments show can travel out of the sandbox."""
    for seed in range(seeds):
        hidden = seed % 2 == 1
        found = exercise.check(answer, seed, hidden=hidden)
        assert found.passed, found
    for case in exercise.draw(np.random.default_rng(0), True):
        _, sent = unpack(pack({}, case))
        record = exercise.probe(answer, sent)  # a case has travelled, too: its arrays come in another order
        _, back = unpack(pack({}, record))
        for before, after in ((case, sent), (record, back)):
            assert {k: v.dtype for k, v in after.items()} == {k: np.asarray(v).dtype for k, v in before.items()}
        assert exercise.verdict([case], [back], None).passed


def rejected(exercise, answer, message, state="not yet", seeds=3):
    """A wrong answer is told its own mistake on any inputs, and fails on the hidden ones too; returns the message."""
    found = [exercise.check(answer, seed) for seed in range(seeds)]
    for check in found:
        assert check.state == state, check
        assert message in check.message, check
    assert not exercise.check(answer, 5, hidden=True).passed
    return found[0].message


def all_different(messages):
    """No two mistakes share a message."""
    shared = {a for a in messages if list(messages).count(a) > 1}
    assert not shared, shared


def forgeries_rejected(exercise, right):
    """Evidence that is missing, of another shape or type, not a number or invented never passes and never crashes."""
    case, *_ = exercise.draw(np.random.default_rng(0), False)
    honest = exercise.probe(right, case)
    assert exercise.verdict([case], [honest], None).passed
    rng = np.random.default_rng(1)
    for name, value in honest.items():
        wrong = [None, np.zeros((*value.shape, 2), value.dtype), value.astype(np.float16), np.zeros(value.shape, "U1")]
        if value.dtype == np.float32:
            wrong += [value * np.nan, value * 0, value + rng.normal(size=value.shape).astype(np.float32)]
        for forged in wrong:
            record = {k: np.asarray(v) for k, v in {**honest, name: forged}.items() if v is not None}
            assert not exercise.verdict([case], [record], None).passed, (name, forged)
    assert not exercise.verdict([case, case], [honest], None).passed
