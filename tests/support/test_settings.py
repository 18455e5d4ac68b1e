"""Settings that are missing or invalid are refused with the name of the variable and what it must be."""

from __future__ import annotations

import pytest

from api.settings import Settings as ApiSettings
from listener.settings import Settings as ListenerSettings
from support.settings import ProcessSettings, SettingsError, read_settings

API = {"DATABASE_URL": "postgresql://x", "JWT_SECRET_KEY": "hidden-key", "ZMESH_SECRET_KEY": "hidden-key"}
LISTENER = {"DATABASE_URL": "postgresql://x", "ZMESH_SECRET_KEY": "hidden-key"}


@pytest.mark.parametrize(
    ("model", "variables", "message"),
    [
        (ApiSettings, {"ZMESH_PORT": "many"}, "ZMESH_PORT must be a whole number (got 'many')."),
        (ApiSettings, {"ZMESH_PORT": "70000"}, "ZMESH_PORT must be at most 65535 (got '70000')."),
        (ApiSettings, {"ZMESH_MAX_CONNECTIONS": "0"}, "ZMESH_MAX_CONNECTIONS must be at least 1 (got '0')."),
        (ApiSettings, {"JWT_SECRET_KEY": ""}, "JWT_SECRET_KEY is not set."),
        (ApiSettings, {"DATABASE_URL": "nonsense"}, "DATABASE_URL is invalid: not a PostgreSQL connection string, "),
        *(
            (
                ApiSettings,
                {"DATABASE_URL": f"postgresql://me:{password}@db.example:5432/zmesh"},
                "DATABASE_URL is invalid: not a PostgreSQL connection string, such as ",
            )
            for password in (
                "hidden-key%",
                "hidden-key%zz",
                "hidden-key x",
                "hidden-key@more",
                "hidden-key/",
                "a/hidden-key",
            )
        ),
        (ApiSettings, {"DATABASE_URL": "host=db password=a hidden-key"}, "DATABASE_URL is invalid: not a PostgreSQL "),
        (ApiSettings, {"ZMESH_METRICS_TOKEN": "hidden-key"}, "ZMESH_METRICS_TOKEN is invalid: give at least 16 "),
        (
            ApiSettings,
            {"ZMESH_METRICS_TOKEN": "hidden-key-of-sixteen-or-more\n"},
            "ZMESH_METRICS_TOKEN is invalid: give at least 16 characters of printable ASCII, without spaces or line ",
        ),
        (ApiSettings, {"ZMESH_DATABASE_ADDRESS": "a b"}, "ZMESH_DATABASE_ADDRESS is invalid: 'a b' is not host or "),
        (ListenerSettings, {"ZMESH_DRAIN_SECONDS": "soon"}, "ZMESH_DRAIN_SECONDS must be a number (got 'soon')."),
        (ListenerSettings, {"ZMESH_SANDBOX_REQUIRED": "some"}, "ZMESH_SANDBOX_REQUIRED must be 'full' (got 'some')."),
        (
            ListenerSettings,
            {"ZMESH_CALLBACK_NETWORKS": "10.0.0.1/8"},
            "ZMESH_CALLBACK_NETWORKS is invalid: 10.0.0.1/8 ",
        ),
    ],
)
def test_an_invalid_variable_is_named_with_what_it_must_be(
    model: type[ProcessSettings], variables: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(model, {**(API if model is ApiSettings else LISTENER), **variables})
    assert str(refused.value).startswith(message)
    assert "hidden-key" not in str(refused.value)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL is not set; ZMESH_SECRET_KEY is not set; .*ZMESH_SLOTS"):
        read_settings(ListenerSettings, {"ZMESH_SLOTS": "0"})


@pytest.mark.parametrize("model", [ApiSettings, ListenerSettings])
def test_every_setting_has_a_variable(model: type[ProcessSettings]) -> None:
    assert set(model.variables().values()) == set(model.model_fields)
