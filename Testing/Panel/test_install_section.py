"""The part of the panel that leads a new user through the installation and over the restart."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from install_desk import open_desk

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def desk(slicer_app, monkeypatch):
    with open_desk(slicer_app, monkeypatch) as desk:
        yield desk


def test_the_section_is_hidden_where_nothing_is_missing(desk):
    desk.section()
    assert not desk.ui.installCollapsibleButton.visible
    assert "torch" in desk.ui.installedLabel.text


def test_the_section_leads_through_the_installation(desk):
    desk.packages.declare_missing("monai")
    section = desk.section()
    assert desk.ui.installCollapsibleButton.visible
    assert "monai" in desk.ui.installLabel.text and "to download" in desk.ui.installLabel.text
    assert desk.ui.installButton.text == "&Install..." and not desk.ui.installProgressBar.visible
    assert "monai" in section.missingTexts()[0]
    ended = []
    section.changed = lambda: ended.append(True)
    desk.answers.give("confirm", True)
    desk.ui.installButton.click()
    assert desk.ui.installProgressBar.visible and not desk.ui.installButton.visible
    assert (desk.ui.installProgressBar.minimum, desk.ui.installProgressBar.maximum) == (0, 0)
    assert "monai" in desk.ui.installLabel.text
    desk.wait()
    assert not desk.ui.installCollapsibleButton.visible
    assert ended == [True] and section.missingTexts() == []
    assert "no monai" not in desk.ui.installedLabel.text


def test_the_section_keeps_the_reason_of_a_failure(desk):
    desk.packages.declare_missing("monai")
    desk.packages.offline = True
    desk.section()
    desk.answers.give("confirm", True)
    desk.ui.installButton.click()
    desk.wait()
    assert len(desk.answers.take_errors()) == 1
    assert "no connection" in desk.ui.installLabel.text and "monai" in desk.ui.installLabel.text
    assert desk.ui.installButton.visible and not desk.ui.installProgressBar.visible


def test_the_section_asks_for_the_restart_and_continues_after_it(desk):
    desk.packages.declare_missing("torch")
    desk.extensions.start_with()
    desk.section()
    desk.answers.give("confirm", True)
    desk.answers.give("confirm", False)
    desk.ui.installButton.click()
    assert desk.ui.installButton.text == "&Restart Slicer..."
    assert "Restart Slicer" in desk.ui.installLabel.text
    desk.answers.give("confirm", True)
    desk.ui.installButton.click()
    assert desk.session.restarts == 1
    later = desk.restarted()
    later.section()
    assert later.ui.installButton.text == "&Continue the installation"
    later.ui.installButton.click()
    later.wait()
    assert not later.ui.installCollapsibleButton.visible


def test_a_pending_installation_is_forgotten_when_all_is_there(desk):
    desk.settings.pendingInstall = True
    desk.section()
    assert not desk.settings.pendingInstall
    assert not desk.ui.installCollapsibleButton.visible


def test_versions_can_be_selected_and_copied(desk):
    panel = ElementTree.parse(REPOSITORY / "BiPVLSeg" / "Resources" / "UI" / "BiPVLSeg.ui")
    flags = panel.find(".//widget[@name='installedLabel']/property[@name='textInteractionFlags']/set").text
    assert "Qt::TextSelectableByMouse" in flags
    desk.section()
    text = desk.ui.installedLabel.text
    assert text.startswith("Installed: BiPVLSeg ")
    for package in ("torch", "monai", "numpy"):
        assert f"{package} {importlib.metadata.version(package)}" in text
    assert "Slicer " in text and f"Python {sys.version.split()[0]}" in text
    desk.packages.declare_missing("monai")
    assert "no monai" in desk.installer.installedText()


def test_a_closed_section_follows_nothing_any_more(desk):
    desk.packages.declare_missing("monai")
    section = desk.section()
    section.close()
    text = desk.ui.installLabel.text
    desk.ui.installButton.click()
    assert desk.questions() == []
    from BiPVLSegPanel.runstate import State

    desk.runState.to(State.INSTALLING, "something")
    assert desk.ui.installLabel.text == text
