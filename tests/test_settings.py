from __future__ import annotations

import json

import pytest

from lib_unet_viz.settings import Settings, SettingsError


def test_settings_survive_json() -> None:
    settings = Settings.from_dict(
        {"features": {"blocks": "M00", "color": {"gain": 2}}, "attention": {"parts": ["K"]}}
    )
    assert settings.features.blocks == "M00"
    assert settings.features.color.gain == 2.0
    assert settings.attention.parts == ("K",)
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feature": {}}, "settings has no 'feature'; allowed: features, attention"),
        (
            {"features": {"color": {"method": "Blue"}}},
            "settings.features.color.method is 'Blue'; allowed: White/Black",
        ),
        ({"features": {"enabled": "yes"}}, "expected true or false"),
        ({"budget_mb": True}, "expected a whole number"),
        ({"attention": {"parts": "QK"}}, "expected a list"),
        ({"attention": {"parts": ["QQ"]}}, "allowed: Q, K, QK, VQK"),
        ({"features": 3}, "settings.features is 3"),
    ],
)
def test_what_is_unknown_or_ill_typed_is_refused_with_what_is_allowed(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_dict(values)
    assert message in str(error.value)
