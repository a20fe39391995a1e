"""The languages of the window. Catalogues lie beside this file: `.ts` to edit, `.qm` to load."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QTranslator

FOLDER = Path(__file__).parent
LANGUAGES = {"en": "English", "ko": "한국어"}


class Language:
    """The language in use; `use` switches it at once."""

    def __init__(self, application: QCoreApplication) -> None:
        self._application = application
        self._installed: list[QTranslator] = []

    def use(self, choice: str) -> str:
        """`system`, `en` or `ko`; the language that is used now."""
        code = QLocale.system().name()[:2] if choice == "system" else choice
        code = code if code in LANGUAGES else "en"
        for old in self._installed:
            self._application.removeTranslator(old)
        self._installed = []
        QLocale.setDefault(QLocale(code))
        if code != "en":
            qt = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
            for name, folder in ((f"qtbase_{code}", qt), (code, str(FOLDER))):
                made = QTranslator(self._application)
                if made.load(name, folder):
                    self._application.installTranslator(made)
                    self._installed.append(made)
        return code
