"""RT1Config: presets, JSON, and what is refused."""

import json

import pytest
from small_rt1 import config

from course_lib.actions import ActionDim, ActionSpace
from course_lib.rt1 import RT1Config


def test_a_config_survives_json():
    for original in (
        RT1Config.tiny(),
        RT1Config.paper(),
        RT1Config.multirobot(),
        config(action_space=ActionSpace.official()),
    ):
        assert RT1Config.from_dict(json.loads(json.dumps(original.to_dict()))) == original
    own = ActionSpace((ActionDim("x", -1.0, 1.0, "m"), ActionDim("stop", 0, 1, "", ("go", "stop"))))
    assert RT1Config.from_dict(json.loads(json.dumps(config(action_space=own).to_dict()))).action_space == own


@pytest.mark.parametrize(
    "change, message",
    [
        ({"histroy": 3}, "Did you mean 'history'"),
        ({"bins": "256"}, r"RT1Config\.bins is int, got '256'"),
        ({"history": 0}, "history must be at least 1"),
        ({"history": True}, "history is int"),
        ({"dropout": 1.0}, "from 0 to below 1"),
        ({"rounding": "up"}, "nearest"),
        ({"action_space": "robot"}, "'official' or 'workbook'"),
        ({"bins": 1}, "at least 2"),
        ({"trunk": {"image_height": 64}}, "EfficientNetConfig also needs image_width"),
        ({"trunk": 3}, "fields of EfficientNetConfig as a mapping"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RT1Config.tiny(**change)
    with pytest.raises(ValueError, match=message):
        RT1Config.from_dict(RT1Config.tiny().to_dict() | change)
