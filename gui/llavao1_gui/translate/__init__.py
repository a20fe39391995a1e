"""The languages of the window. Catalogues lie beside this file: `.ts` to edit, `.qm` to load."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QLibraryInfo, QLocale, QTranslator
from PySide6.QtGui import QFontDatabase, QFontInfo, QGuiApplication

FOLDER = Path(__file__).parent
LANGUAGES = {"en": "English", "ko": "한국어"}
# Whole fonts before partial ones, in which single glyphs are missing.
KOREAN_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic",
                "Apple SD Gothic Neo")  # fmt: skip


class Language:
    """The language in use; `use` switches it at once."""

    def __init__(self, application: QGuiApplication) -> None:
        self._application = application
        self._installed: list[QTranslator] = []
        # The font that is really drawn: a name that stands for another one would be skipped.
        self._family = QFontInfo(application.font()).family()

    def use(self, choice: str) -> str:
        """`system`, `en` or `ko`; the language that is used now."""
        code = QLocale.system().name()[:2] if choice == "system" else choice
        code = code if code in LANGUAGES else "en"
        for old in self._installed:
            self._application.removeTranslator(old)
        self._installed = []
        QLocale.setDefault(QLocale(code))
        font = QGuiApplication.font()
        installed = QFontDatabase.families()
        found = [name for name in KOREAN_FONTS if name in installed]
        font.setFamilies([self._family, *found])
        self._application.setFont(font)
        if code != "en":
            qt = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
            for name, folder in ((f"qtbase_{code}", qt), (code, str(FOLDER))):
                made = QTranslator(self._application)
                if made.load(name, folder):
                    self._application.installTranslator(made)
                    self._installed.append(made)
        return code
