"""Settings of the computer: they survive a restart of Slicer, and nonsense in the settings file does no harm."""

from __future__ import annotations

import pytest


@pytest.fixture
def settings(slicer_app):
    from BiPVLSegPanel.settings import Settings

    return Settings()


def restarted(slicer_app):
    """The settings as the next Slicer reads them from the file."""
    import qt
    from BiPVLSegPanel.settings import Settings

    slicer_app.settings.sync()
    return Settings(qt.QSettings(slicer_app.settings.fileName(), qt.QSettings.IniFormat))


def test_a_new_computer_has_sensible_settings(settings):
    assert (settings.device, settings.precision) == ("auto", "auto")
    assert settings.keepWorker is True
    assert settings.idleMinutes == 10
    assert settings.modelFolders == []
    assert settings.pendingInstall is False
    assert settings.secondsPerWindow("cardiac-mr", "CPU") is None


def test_everything_survives_a_restart(settings, slicer_app):
    settings.device = "cuda:1"
    settings.precision = "fp32"
    settings.keepWorker = False
    settings.idleMinutes = 30
    settings.modelFolders = ["/models/a, b", "/Modelle/Müller/心"]
    settings.pendingInstall = True
    settings.setSecondsPerWindow("a/b", "NVIDIA | RTX", 0.25)
    later = restarted(slicer_app)
    assert (later.device, later.precision, later.keepWorker, later.idleMinutes) == ("cuda:1", "fp32", False, 30)
    assert later.modelFolders == ["/models/a, b", "/Modelle/Müller/心"]
    assert later.pendingInstall is True
    assert later.secondsPerWindow("a/b", "NVIDIA | RTX") == 0.25
    assert later.secondsPerWindow("a/b", "CPU") is None


def test_one_model_folder_stays_a_list(settings, slicer_app):
    settings.modelFolders = ["/models/one"]
    assert restarted(slicer_app).modelFolders == ["/models/one"]
    settings.modelFolders = []
    assert restarted(slicer_app).modelFolders == []


def test_they_lie_in_a_group_of_their_own(settings, slicer_app):
    settings.device = "cpu"
    settings.keepWorker = True
    assert set(slicer_app.settings.allKeys()) == {"BiPVLSeg/device", "BiPVLSeg/keepWorker"}


@pytest.mark.parametrize(
    "key, value, name, expected",
    [
        ("device", "toaster", "device", "auto"),
        ("device", "cuda:x", "device", "auto"),
        ("device", "CPU", "device", "cpu"),
        ("precision", "int4", "precision", "auto"),
        ("modelNames", "[1]", "modelNames", {}),
        ("modelNames", '{"/a": 3, "/b": "liver"}', "modelNames", {"/b": "liver"}),
        ("keepWorker", "perhaps", "keepWorker", True),
        ("keepWorker", "0", "keepWorker", False),
        ("keepWorker", False, "keepWorker", False),
        ("pendingInstall", "", "pendingInstall", False),
        ("pendingInstall", 1, "pendingInstall", True),
        ("idleMinutes", "-5", "idleMinutes", 10),
        ("idleMinutes", "ten", "idleMinutes", 10),
        ("idleMinutes", "inf", "idleMinutes", 10),
        ("idleMinutes", "20.0", "idleMinutes", 20),
        ("modelFolders", "/models/one", "modelFolders", []),
        ("modelFolders", '{"a": 1}', "modelFolders", []),
        ("modelFolders", '["/a", 3, "", "/a"]', "modelFolders", ["/a"]),
    ],
)
def test_values_that_make_no_sense_count_as_not_set(settings, slicer_app, key, value, name, expected):
    slicer_app.settings.setValue(f"BiPVLSeg/{key}", value)
    assert getattr(settings, name) == expected


@pytest.mark.parametrize(
    "text", ["[]", "nonsense", '{"m|d": "fast"}', '{"m|d": -1}', '{"m|d": true}', '{"m|d": 1e999}']
)
def test_a_damaged_table_of_speeds_knows_nothing_and_learns_again(settings, slicer_app, text):
    slicer_app.settings.setValue("BiPVLSeg/secondsPerWindow", text)
    assert settings.secondsPerWindow("m", "d") is None
    settings.setSecondsPerWindow("m", "d", 2)
    assert settings.secondsPerWindow("m", "d") == 2


def test_impossible_speeds_are_not_remembered(settings):
    for seconds in (0, -1, float("nan"), float("inf"), None):
        settings.setSecondsPerWindow("m", "d", seconds)
    assert settings.secondsPerWindow("m", "d") is None


def test_the_table_of_speeds_does_not_grow_without_end(settings):
    for number in range(300):
        settings.setSecondsPerWindow(f"model {number}", "CPU", 1 + number)
    assert settings.secondsPerWindow("model 299", "CPU") == 300
    assert settings.secondsPerWindow("model 0", "CPU") is None
