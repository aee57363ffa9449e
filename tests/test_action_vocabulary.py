"""The four layouts of action tokens: ids, what they cost, and what cannot be."""

import pytest
import torch

from course_lib.actions import ActionVocabulary, least_used

LAYOUTS = {
    "extend": ActionVocabulary.extend(1000, 256),
    "overwrite": ActionVocabulary.overwrite(range(700, 956)),
    "integers": ActionVocabulary.integers(range(10, 266)),
    "per dimension": ActionVocabulary.per_dimension(7, 256, first=1000),
}


def some_bins(dims=7):
    return torch.randint(256, (5, dims), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LAYOUTS)
def test_bins_to_ids_to_bins_changes_nothing(name):
    layout = LAYOUTS[name]
    assert layout.layout == name and layout.size == 256
    assert torch.equal(layout.bins(layout.ids(some_bins())), some_bins())


def test_only_new_tokens_cost_parameters():
    """Seed 000 appends 256; seed 003 has 7 x 256 and a start and an end; RT-2 itself adds nothing."""
    added = {name: layout.added_rows for name, layout in LAYOUTS.items()}
    assert added == {"extend": 256, "overwrite": 0, "integers": 0, "per dimension": 7 * 256 + 2}
    assert LAYOUTS["extend"].added_parameters(2048) == 256 * 2048
    assert LAYOUTS["extend"].added_parameters(2048, tied=False) == 2 * 256 * 2048
    assert LAYOUTS["integers"].added_parameters(2048) == 0


def test_the_integer_layout_writes_bin_128_as_the_token_of_128():
    assert LAYOUTS["integers"].ids(torch.tensor([0, 128, 255])).tolist() == [10, 138, 265]


def test_per_dimension_frames_each_action_and_gives_each_number_its_own_tokens():
    ids = LAYOUTS["per dimension"].ids(torch.zeros(7, dtype=torch.long))
    assert ids.tolist() == [2792, *range(1000, 2792, 256), 2793]


def test_slots_are_the_legal_ids_of_each_place():
    slots = LAYOUTS["per dimension"].slots([2, 256, 256, 256, 256, 256, 256])
    assert slots[0] == (2792,) and slots[1] == (1000, 1001) and len(slots[2]) == 256 and slots[-1] == (2793,)
    assert LAYOUTS["extend"].slots([2, 3]) == [(1000, 1001), (1000, 1001, 1002)]


def test_a_token_that_means_no_action_raises_and_says_where():
    with pytest.raises(ValueError, match="Token 3 of 3 must be an action token, but it is id 5"):
        LAYOUTS["integers"].bins(torch.tensor([10, 11, 5]))
    ids = LAYOUTS["per dimension"].ids(some_bins())
    ids[2, [1, 2]] = ids[2, [2, 1]].clone()  # a number's token at another number's place
    with pytest.raises(ValueError, match="Token 2 of 9 must be an action token"):
        LAYOUTS["per dimension"].bins(ids)
    with pytest.raises(ValueError, match="Token 1 of 9 must be the start token, but it is id 7"):
        LAYOUTS["per dimension"].bins(torch.full((9,), 7))


def test_bins_outside_the_range_and_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"Bins are 0 \.\.\. 255, got 3 \.\.\. 256"):
        LAYOUTS["extend"].ids(torch.tensor([3, 256]))  # seed 003 wraps around here and reverses the robot
    with pytest.raises(ValueError, match="tokens for 7 numbers of an action, got 8"):
        LAYOUTS["per dimension"].ids(some_bins(8))


def test_ids_that_collide_are_refused():
    with pytest.raises(ValueError, match=r"its own token id from 0 on, but \[7\] cannot be"):
        ActionVocabulary.overwrite([5, 7, 7, 9])
    with pytest.raises(ValueError, match="from 0 on"):
        ActionVocabulary.integers([-1, 3])
    with pytest.raises(ValueError, match="equally many ids"):
        ActionVocabulary("own", ((1, 2), (3,)))


def test_the_least_used_tokens_are_taken_the_last_ones_first_and_the_kept_ones_never():
    counts = [0, 9, 0, 3, 0, 1]
    assert least_used(counts, 3, keep=[0]) == (4, 2, 5)
    with pytest.raises(ValueError, match="too small to overwrite: 6 tokens are needed, 5 of 6 may be taken"):
        least_used(counts, 6, keep=[0])
