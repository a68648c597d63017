"""The only place that opens modal windows. It is handed to whoever has to ask, so that tests answer in its stead."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _


class Dialogs:
    """Questions and messages in windows of their own. An empty string means that the user has cancelled."""

    def openFile(self, title: str, filter: str) -> str:
        """Path of an existing file; ``filter`` as in Qt: ``"Tables (*.csv)"``."""
        return str(qt.QFileDialog.getOpenFileName(self._parent(), title, "", filter) or "")

    def saveFile(self, title: str, filter: str, suggestion: str = "") -> str:
        """Path of a file to write; the window itself asks before an existing one is overwritten."""
        return str(qt.QFileDialog.getSaveFileName(self._parent(), title, suggestion, filter) or "")

    def chooseFolder(self, title: str) -> str:
        """Path of an existing folder."""
        return str(qt.QFileDialog.getExistingDirectory(self._parent(), title) or "")

    def chooseColor(self, color: tuple[int, int, int]) -> tuple[int, int, int] | None:
        """Another colour (red, green, blue; 0..255), or None when the user has cancelled."""
        chosen = qt.QColorDialog.getColor(qt.QColor(*color), self._parent(), _("Colour of the organ"))
        return (chosen.red(), chosen.green(), chosen.blue()) if chosen.isValid() else None

    def confirm(self, text: str) -> bool:
        """Whether the user agrees with what ``text`` asks."""
        return bool(slicer.util.confirmOkCancelDisplay(text, windowTitle=_("BiPVL-Seg")))

    def error(self, text: str, details: str = "") -> None:
        """Says why something that the user asked for was not done."""
        slicer.util.errorDisplay(text, windowTitle=_("BiPVL-Seg"), detailedText=details)

    def showText(self, title: str, text: str) -> None:
        """A longer text to read, such as a model card. Markdown is shown as such."""
        window = qt.QDialog(self._parent())
        window.windowTitle = title
        layout = qt.QVBoxLayout(window)
        browser = qt.QTextBrowser(window)
        browser.openExternalLinks = True
        browser.accessibleName = title
        browser.setMarkdown(text)
        layout.addWidget(browser)
        buttons = qt.QDialogButtonBox(window)  # given there, PythonQt may take the buttons for an orientation
        buttons.setStandardButtons(qt.QDialogButtonBox.Close)
        buttons.connect("rejected()", window.reject)
        layout.addWidget(buttons)
        window.resize(640, 560)
        window.exec()
        window.deleteLater()

    @staticmethod
    def _parent():
        return slicer.util.mainWindow()  # None without a main window, which Qt accepts
