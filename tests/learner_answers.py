"""Learners' answers as text: a right one, and what becomes of it when a few words are changed."""

import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from checks_tried import accepted, rejected


def define(source, name):
    """What the source calls ``name``, as in a notebook that has imported the usual things."""
    home = {"__name__": "__main__", "math": math, "re": re, "np": np, "torch": torch, "F": F}
    exec(source, home)
    return home[name]


def changed(source, *changes):
    """The source with each (old, new) done once; an old that is not there is the test's own mistake."""
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert source.count(old) >= 1, f"{old!r} is not in\n{source}"
        source = source.replace(old, new, 1)
    return source


def assert_told(exercise, source, message, state="not yet", seeds=2):
    """The visible check gives the state and the words on any inputs; the hidden inputs do not let it pass either."""
    rejected(exercise, define(source, exercise.name), message, state, seeds)


def assert_accepted(exercise, source):
    """Right on any inputs, visible and hidden, also when cases and records travel into a sandbox and out of it."""
    accepted(exercise, define(source, exercise.name))


def assert_all_differ(exercise, sources):
    """No two mistakes are told the same."""
    told = {name: exercise.check(define(source, exercise.name), 0).message for name, source in sources.items()}
    assert len(set(told.values())) == len(told), told


def assert_forgeries_fail(exercise, source, only_for_naming=()):
    """Evidence that is missing, of another shape or type, not finite or drawn at random never passes."""
    rng = np.random.default_rng(0)
    for case in exercise.draw(rng, False):
        honest = exercise.probe(define(source, exercise.name), case)
        assert exercise.verdict([case], [honest], None).passed
        for name, value in honest.items():
            forgeries = [None, value[..., None], value.astype(np.complex64), np.zeros(value.shape, "U1"), np.array(7)]
            if value.dtype == np.float32:
                forgeries += [value * np.nan, rng.normal(size=value.shape).astype(np.float32)]
            if value.dtype == np.bool_:
                forgeries += [~value]
            for forged in forgeries:
                record = {k: v for k, v in {**honest, name: forged}.items() if v is not None}
                if name not in only_for_naming or forged is None:
                    assert not exercise.verdict([case], [record], None).passed, (name, forged)
