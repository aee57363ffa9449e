import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from course_lib.classroom.plots import attention_figure, still_html


def rollout(steps=4, tokens=3):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (steps, 16, 16, 3), dtype=np.uint8)
    return images, rng.dirichlet(np.ones(16), (steps, tokens)).reshape(steps, tokens, 4, 4)


def test_the_figure_shows_the_picture_and_each_map_at_start_middle_and_end():
    images, maps = rollout()
    figure = attention_figure(images, maps, instruction="pick apple")
    titles = [axis.get_title() for axis in figure.axes]
    assert len(figure.axes) == 3 * 4 and titles[::4] == ["step 0", "step 1", "step 3"]
    assert titles[1] == f"token 1: {maps[0, 0].max():.0%}"
    assert np.array_equal(figure.axes[4].images[0].get_array(), images[1])


def test_the_veil_is_thinnest_where_the_token_looks_most():
    images, maps = rollout(1, 1)
    veil = attention_figure(images, maps).axes[1].images[1].get_array()
    assert np.unravel_index(veil[..., 3].argmin(), (4, 4)) == np.unravel_index(maps[0, 0].argmax(), (4, 4))


def test_a_rollout_of_one_frame_is_one_row():
    assert len(attention_figure(*rollout(1, 8)).axes) == 9


def test_steps_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"Expected steps from 0 to 3.*got steps \[4\]"):
        attention_figure(*rollout(), steps=[4])


def test_the_still_picture_carries_its_text_safely_and_its_own_bytes():
    figure = attention_figure(*rollout(2, 2))
    page = still_html(figure, 'an "apple" <b>', "still-1", "a & b")
    assert '<figure class="still-1">' in page and 'alt="an &quot;apple&quot; &lt;b&gt;"' in page and "a &amp; b" in page
    source = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    assert Image.open(io.BytesIO(base64.b64decode(source))).size[0] > 200
    assert page == still_html(figure, 'an "apple" <b>', "still-1", "a & b")
