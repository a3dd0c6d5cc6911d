"""Settings and every value that they have had."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import settings
from storage_server.control_db.errors import Conflict, Missing

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
