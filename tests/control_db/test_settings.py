"""Settings and every value that they have had."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import projected, projection_log, settings
from storage_server.control_db.errors import Conflict, Missing
from storage_server.control_db.views import Ref

NOW_US = 1_700_000_000_000_000


def test_a_setting_keeps_its_history(session: Session) -> None:
    """Who set what when, going back to what ships included."""
    settings.put(session, "", "theme", '"dark"', by="ana", now_us=NOW_US)
    settings.put(session, "", "theme", '"light"', by="eva", now_us=NOW_US + 1)
    settings.reset(session, "", "theme", by="ana", now_us=NOW_US + 2)
    assert settings.find(session, "", "theme") is None
    again = settings.put(session, "", "theme", '"grey"', by="ana", now_us=NOW_US + 3)
    assert again.revision == 4
    history = settings.history(session, "", "theme", limit=9)
    assert [(one.revision, one.value, one.changed_by) for one in history] == [
        (4, '"grey"', "ana"),
        (3, None, "ana"),
        (2, '"light"', "eva"),
        (1, '"dark"', "ana"),
    ]
    assert settings.history(session, "", "theme", before_revision=3, limit=1) == history[2:3]


def test_a_stale_change_of_a_setting_is_refused(session: Session) -> None:
    """0 stands for "nobody has set it so far"."""
    settings.put(session, "", "a", "1", by="ana", now_us=NOW_US, expected=0)
    with pytest.raises(Conflict):
        settings.put(session, "", "a", "2", by="ana", now_us=NOW_US, expected=0)
    with pytest.raises(Conflict):
        settings.reset(session, "", "a", by="ana", now_us=NOW_US, expected=2)
    settings.put(session, "", "a", "2", by="ana", now_us=NOW_US, expected=1)
    with pytest.raises(Missing):
        settings.reset(session, "", "b", by="ana", now_us=NOW_US)


def test_scopes_do_not_meet(session: Session) -> None:
    """A tenant's value is nobody else's."""
    settings.put(session, "", "b", "1", by="ana", now_us=NOW_US)
    settings.put(session, "", "a", "1", by="ana", now_us=NOW_US)
    settings.put(session, "00" * 8, "a", "2", by="ana", now_us=NOW_US)
    assert [one.name for one in settings.list_all(session, "")] == ["a", "b"]
    assert [one.value for one in settings.list_all(session, "00" * 8)] == ["2"]
    assert settings.history(session, "11" * 8, "a", limit=9) == ()


def test_what_is_in_force_is_what_ships_with_what_was_set(session: Session) -> None:
    """The revision moves with every change, a reset included, and is the installation's alone."""
    assert settings.in_force(session) == settings.SHIPPED
    assert settings.revision(session) == 0
    settings.put(session, "", "password_chars_min", "20", by="ana", now_us=NOW_US)
    settings.put(session, "", "default_object_ownership", '"ObjectWriter"', by="ana", now_us=NOW_US)
    settings.put(session, "", "of a newer program", "1", by="ana", now_us=NOW_US)
    settings.put(session, "00" * 8, "access_keys_per_user", "9", by="ana", now_us=NOW_US)
    assert settings.in_force(session) == settings.Installation(
        password_chars_min=20, default_object_ownership="ObjectWriter"
    )
    assert settings.revision(session) == 3
    settings.reset(session, "", "password_chars_min", by="ana", now_us=NOW_US)
    assert settings.in_force(session).password_chars_min == settings.SHIPPED.password_chars_min
    assert settings.revision(session) == 4


def test_settings_are_projected_once_somebody_changed_one(session: Session) -> None:
    """All together, under the revision of the log."""
    assert projected.build(session, "settings", "installation") is None
    settings.put(session, "", "default_public_access_block", "0", by="ana", now_us=NOW_US)
    projection_log.append(session, [Ref("settings", "installation")], NOW_US)
    (entry,) = projection_log.after(session, 0, 9)
    found = projected.build(session, entry.entity_kind, entry.entity_id)
    assert isinstance(found, projected.SettingsValues)
    assert (found.revision, entry.revision) == (1, 1)
    assert found.values == settings.Installation(default_public_access_block=0)
    assert list(projected.all_entities(session)) == [found]
