"""Colours of the light and the dark theme, and the style sheet made of them.

Text on every surface has a contrast of at least 4.5 : 1 (a test computes it).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication


@dataclass(frozen=True)
class Theme:
    """back: window; surface: cards and fields; raised: hover; faint: secondary text."""

    name: str
    back: str
    surface: str
    raised: str
    line: str
    text: str
    faint: str
    accent: str
    on_accent: str
    good: str
    bad: str
    bad_back: str
    note_back: str


LIGHT = Theme("light", "#f4f4f2", "#ffffff", "#ececea", "#d5d5d1", "#1c1d1f", "#5a5d63",
              "#2459c4", "#ffffff", "#17663a", "#a3231b", "#fdecea", "#eaf0fc")  # fmt: skip
DARK = Theme("dark", "#17181b", "#212327", "#2d3036", "#3b3e45", "#ecedef", "#a9adb6",
             "#84acff", "#0d1526", "#6fd39b", "#ff9d93", "#3b2322", "#232d42")  # fmt: skip

SHEET = """
* {{ outline: none; }}
QMainWindow, QDialog, #sidebar, #answers, #answersInside {{ background: {back}; }}
QToolTip {{ background: {surface}; color: {text}; border: 1px solid {line}; padding: 4px; }}
QSplitter::handle {{ background: {line}; }}
QLabel[role="faint"], QCheckBox[role="faint"] {{ color: {faint}; }}
QLabel[role="good"] {{ color: {good}; }}
QLabel[role="bad"] {{ color: {bad}; }}
QLabel[role="section"] {{ color: {faint}; font-weight: 600; }}
QLabel[role="heading"] {{ font-size: 17pt; font-weight: 600; }}
QLabel[role="question"] {{ font-weight: 600; }}
QLabel[role="stage"] {{ color: {faint}; font-weight: 600; }}
#card {{ background: {surface}; border: 1px solid {line}; border-radius: 10px; }}
#banner {{ background: {note_back}; border: 1px solid {line}; border-radius: 8px; }}
#banner[kind="bad"] {{ background: {bad_back}; border-color: {bad}; }}
#questionBox {{ background: {surface}; border: 1px solid {line}; border-radius: 10px; }}
#questionBox:focus-within {{ border-color: {accent}; }}
#question {{ background: transparent; border: none; }}
#answerText {{ background: transparent; border: none; padding: 0; }}
QListView, QTableView, QPlainTextEdit, QTextBrowser, QLineEdit, QSpinBox, QDoubleSpinBox,
QComboBox, QKeySequenceEdit {{
  background: {surface}; border: 1px solid {line}; border-radius: 6px; padding: 3px 6px;
  selection-background-color: {accent}; selection-color: {on_accent}; }}
QSpinBox#leaf {{ padding: 3px 8px; }}
QSpinBox#leaf::up-button, QSpinBox#leaf::down-button {{ width: 0; border: none; }}
QListView#history {{ background: transparent; border: 1px solid transparent; padding: 0; }}
QListView#history::item {{ padding: 0; }}
QListView::item {{ border-radius: 6px; padding: 6px; color: {text}; }}
QListView::item:hover {{ background: {raised}; }}
QListView::item:selected {{ background: {note_back}; color: {text};
  border-left: 3px solid {accent}; }}
QListView#strip::item {{ border: 2px solid transparent; padding: 3px; }}
QListView#strip::item:selected {{ background: transparent; border: 2px solid {accent}; }}
QLineEdit:focus, QPlainTextEdit:focus, QTextBrowser:focus, QSpinBox:focus, QDoubleSpinBox:focus,
QComboBox:focus, QListView:focus, QTableView:focus, QKeySequenceEdit:focus {{
  border: 1px solid {accent}; }}
#question:focus {{ border: none; }}
QHeaderView::section {{ background: {back}; color: {faint}; border: none;
  border-bottom: 1px solid {line}; padding: 4px 6px; }}
QTableView {{ gridline-color: {line}; padding: 0; }}
QPushButton {{ background: {surface}; border: 1px solid {line}; border-radius: 6px;
  padding: 5px 12px; }}
QPushButton:hover {{ background: {raised}; }}
QPushButton:focus, QToolButton:focus, QCheckBox:focus {{ border: 1px solid {accent}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {faint}; }}
QPushButton[role="main"] {{ background: {accent}; color: {on_accent}; border-color: {accent};
  font-weight: 600; }}
QPushButton[role="main"]:focus {{ border: 2px solid {text}; }}
QPushButton[role="main"]:disabled {{ background: {raised}; color: {faint};
  border-color: {line}; }}
QPushButton[role="sample"] {{ padding: 4px; }}
QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: 6px;
  padding: 4px 6px; }}
QToolButton:hover {{ background: {raised}; }}
QToolButton:checked {{ background: {note_back}; border-color: {accent}; }}
QToolButton[role="fold"] {{ padding: 4px 6px 4px 0; }}
QToolButton[role="fold"]:checked {{ background: transparent; border-color: transparent; }}
QToolButton[role="fold"]:checked:hover {{ background: {raised}; }}
QToolButton[role="fold"]:focus {{ border-color: {accent}; }}
QToolButton::menu-indicator {{ image: none; }}
QCheckBox {{ border: 1px solid transparent; border-radius: 4px; padding: 2px; }}
QCheckBox::indicator {{ width: 14px; height: 14px; border: 1px solid {faint};
  border-radius: 4px; background: {surface}; }}
QCheckBox::indicator:checked {{ background: {accent}; border-color: {accent};
  image: url({check}); }}
QCheckBox::indicator:disabled {{ border-color: {line}; }}
QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QProgressBar {{ background: {raised}; border: none; border-radius: 3px; max-height: 6px; }}
QProgressBar::chunk {{ background: {accent}; border-radius: 3px; }}
QStatusBar {{ background: {back}; color: {faint}; border-top: 1px solid {line}; }}
QStatusBar QLabel {{ color: {faint}; padding: 2px 8px; }}
QComboBox::drop-down {{ border: none; width: 20px; }}
QComboBox::down-arrow {{ image: url({arrow}); width: 12px; height: 12px; }}
QComboBox QAbstractItemView {{ background: {surface}; border: 1px solid {line};
  border-radius: 0; padding: 0;
  selection-background-color: {note_back}; selection-color: {text}; }}
QStatusBar::item {{ border: none; }}
QTabWidget::pane {{ border: 1px solid {line}; background: {back}; }}
QTabBar::tab {{ background: transparent; color: {faint}; padding: 7px 14px;
  border-bottom: 2px solid transparent; }}
QTabBar::tab:selected {{ color: {text}; border-bottom: 2px solid {accent}; }}
QTabBar::tab:focus {{ color: {accent}; }}
QScrollArea {{ border: none; background: transparent; }}
QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
QScrollBar::handle:vertical {{ background: {line}; border-radius: 4px; min-height: 30px;
  margin: 1px; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
QScrollBar::handle:horizontal {{ background: {line}; border-radius: 4px; min-width: 30px;
  margin: 1px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QMenu {{ background: {surface}; border: 1px solid {line}; padding: 4px; }}
QMenu::item {{ padding: 5px 40px 5px 12px; border-radius: 4px; }}
QMenu::item:selected {{ background: {note_back}; color: {text}; }}
QMenu::separator {{ height: 1px; background: {line}; margin: 4px 8px; }}
QMenuBar {{ background: {back}; }}
QMenuBar::item:selected {{ background: {raised}; border-radius: 4px; }}
"""

RESOURCES = Path(__file__).parent.parent / "resources"
_current = LIGHT


def current() -> Theme:
    """The theme in use."""
    return _current


def apply(choice: str) -> Theme:
    """`system`, `light` or `dark` for the whole application."""
    global _current
    hints = QGuiApplication.styleHints()
    if choice == "system":
        hints.unsetColorScheme()
        _current = DARK if hints.colorScheme() is Qt.ColorScheme.Dark else LIGHT
    else:
        _current = DARK if choice == "dark" else LIGHT
        hints.setColorScheme(Qt.ColorScheme.Dark if _current is DARK else Qt.ColorScheme.Light)
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setPalette(_palette(_current))
    colours = {entry.name: getattr(_current, entry.name) for entry in fields(_current)}
    drawn = {
        what: (RESOURCES / f"{what}-{_current.name}.svg").as_posix() for what in ("arrow", "check")
    }
    application.setStyleSheet(SHEET.format(**drawn, **colours))
    return _current


def _palette(theme: Theme) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for where, colour in {
        role.Window: theme.back,
        role.Base: theme.surface,
        role.AlternateBase: theme.raised,
        role.Button: theme.surface,
        role.WindowText: theme.text,
        role.Text: theme.text,
        role.ButtonText: theme.text,
        role.ToolTipBase: theme.surface,
        role.ToolTipText: theme.text,
        role.PlaceholderText: theme.faint,
        role.Highlight: theme.accent,
        role.HighlightedText: theme.on_accent,
        role.Link: theme.accent,
        role.Mid: theme.line,
    }.items():
        palette.setColor(where, QColor(colour))
    for where in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, where, QColor(theme.faint))
    return palette
