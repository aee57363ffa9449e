"""Films and contact sheets of rollouts."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from course_lib.classroom.film_export import contact_sheet, film_html, save_films, save_gif, sheet_alt, sheet_html, verdict
from course_lib.measure import Outcomes


def films(lengths, size=16):
    """A white square that moves to the right on colours that stay."""
    made = []
    for n in lengths:
        film = np.zeros((n, size, size, 3), np.uint8)
        film[..., 0] = np.arange(size) * 15
        film[..., 2] = 90
        for t in range(n):
            film[t, 4:8, t % size] = 255
        made.append(film)
    return made


def outcomes(lengths=(5, 9, 4)):
    n = len(lengths)
    won = np.arange(n) % 2 == 0
    labels = ["" if w else "wrong object" for w in won]
    words = ["pick apple", "pick <b> can", "open left drawer"][:n]
    numbers = (np.full(n, -1), np.zeros(n, int))
    length = np.array(lengths) - 1
    return Outcomes(won, length, np.arange(n) + 7, words, won, *numbers, failure=labels, films=films(lengths))


def frames_of(gif):
    """Every frame as RGB, and how long it stays (milliseconds)."""
    with Image.open(gif) as picture:
        shown = []
        for i in range(picture.n_frames):
            picture.seek(i)
            shown.append((np.asarray(picture.convert("RGB")), picture.info["duration"]))
    return shown


def test_a_gif_shows_every_frame_enlarged_to_whole_pixels_at_the_robots_speed(tmp_path):
    (film,) = films([6])
    shown = frames_of(save_gif(film, tmp_path / "a.gif", fps=4, width=64))
    assert [time for _, time in shown] == [250] * 5 + [1250]
    for (picture, _), true in zip(shown, film, strict=True):
        assert picture.shape == (64, 64, 3) and np.abs(picture[::4, ::4].astype(int) - true).max() < 16
        assert np.array_equal(picture[::4, ::4], picture[3::4, 3::4])


def test_a_gif_repeats_for_ever(tmp_path):
    with Image.open(save_gif(films([3])[0], tmp_path / "a.gif")) as picture:
        assert picture.info["loop"] == 0


def test_a_film_in_a_notebook_carries_its_words_safely_and_its_own_bytes():
    page = film_html(films([3])[0], 'picks "it" <b>', caption="a & b").data
    assert 'alt="picks &quot;it&quot; &lt;b&gt;"' in page and "<figcaption>a &amp; b</figcaption>" in page
    data = base64.b64decode(re.search(r"data:image/gif;base64,([^\"]+)", page)[1])
    assert len(frames_of(io.BytesIO(data))) == 3


def test_an_empty_film_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        save_gif(np.zeros((0, 8, 8, 3), np.uint8), tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_the_sheet_has_a_row_per_episode_from_its_first_picture_to_its_last():
    made = outcomes()
    figure = contact_sheet(made, columns=3)
    axes = np.array(figure.axes).reshape(3, 3)
    for row, film in zip(axes, made.films, strict=True):
        assert np.array_equal(row[0].images[0].get_array(), film[0])
        assert np.array_equal(row[-1].images[0].get_array(), film[-1])
    titles = [row[0].get_title(loc="left") for row in axes]
    assert titles[:2] == ["pick apple: succeeded in 4 steps", "pick <b> can: failed: wrong object"]


def test_a_film_shorter_than_the_row_shows_each_picture_once():
    shown = [len(axis.images) for axis in contact_sheet(outcomes((2,)), columns=5).axes]
    assert shown == [1, 1, 0, 0, 0]


def test_the_sheet_is_told_in_words():
    made = outcomes()
    alt = sheet_alt(made)
    assert alt.startswith("3 episodes from first to last picture, 2 succeeded. pick apple: succeeded in 4 steps;")
    assert "pick &lt;b&gt; can: failed: wrong object" in sheet_html(made, columns=2).data
    assert sheet_alt(made, rows=1).startswith("1 episodes")


def test_without_films_the_message_says_how_to_get_them():
    with pytest.raises(ValueError, match=r"Try rollout\(policy, env, n, film=12\)"):
        contact_sheet(outcomes().where(np.array([0])))


def test_outcomes_without_labels_are_described_by_what_is_known():
    bare = Outcomes(
        *(getattr(outcomes(), k) for k in ("success", "length", "seed", "instruction", "stopped", "held", "target"))
    )
    assert verdict(bare, 1) == "failed: timeout" and verdict(bare, 0) == "succeeded in 4 steps"


def test_saved_films_are_named_by_seed_and_verdict(tmp_path):
    paths = save_films(outcomes(), tmp_path, width=16)
    assert [p.name for p in paths][:2] == ["7_succeeded_in_4_steps.gif", "8_failed_wrong_object.gif"]
    assert [len(frames_of(p)) for p in paths] == [5, 9, 4]
