"""Every setting, made from the settings table: what is there appears here by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QLineEdit,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from llavao1_edge.errors import UsageError
from llavao1_edge.settings import Range, ranges
from llavao1_gui.state.preferences import CHOICES, GROUPS, Preferences
from llavao1_gui.widgets.layouts import column, decision_box, label, name_choice
from llavao1_gui.widgets.placing import open_dialog
from llavao1_gui.widgets.settings_texts import setting_help, setting_name
from llavao1_gui.widgets.texts import preset_name, said


class SettingField(QWidget):
    """One setting: empty means the default."""

    def __init__(self, group: str, name: str, limits: Range, value: Any) -> None:
        super().__init__()
        self.group, self.name, self.limits = group, name, limits
        default = getattr(GROUPS[group](), name)
        if limits.choices:
            self.combo: QComboBox | None = QComboBox()
            self.combo.addItems(list(limits.choices))
            self.combo.setCurrentText(str(value if value is not None else default))
            self.edit: QLineEdit | None = None
            inside: QWidget = self.combo
        else:
            self.combo = None
            self.edit = QLineEdit("" if value is None else _text(value))
            shown = self.tr("default") if default is None else _text(default)
            self.edit.setPlaceholderText(shown)
            self.edit.setMaximumWidth(160)
            inside = self.edit
        inside.setAccessibleName(setting_name(name))
        if isinstance(inside, QComboBox):
            name_choice(inside, setting_name(name))
        inside.setAccessibleDescription(setting_help(limits.help))
        self.setFocusProxy(inside)
        self.help = label(setting_help(limits.help), role="faint", wrap=True)
        self.problem = label(role="bad", wrap=True)
        self.problem.hide()
        self.setLayout(column(inside, self.help, self.problem, gap=2))

    def value(self) -> Any:
        """Raises UsageError for what is not of its kind."""
        if self.combo is not None:
            return self.combo.currentText()
        assert self.edit is not None
        text = self.edit.text().strip()
        if not text or text == "auto":
            return getattr(GROUPS[self.group](), self.name)
        try:
            return self.limits.read(self.name, text)
        except UsageError:
            raise UsageError(self.tr("{0} is not a number").format(text)) from None


class SettingsDialog(QDialog):
    """`preferences` holds what was chosen, once it was accepted."""

    def __init__(self, preferences: Preferences, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.preferences = preferences
        self.setWindowTitle(self.tr("Settings"))
        open_dialog(self, 620, 560)
        self.tabs = QTabWidget()
        self.combos: dict[str, QComboBox] = {}
        self.fields: list[SettingField] = []
        self.tabs.addTab(self._general(), self.tr("General"))
        titles = {
            "search": self.tr("Search"),
            "sampling": self.tr("Sampling"),
            "budget": self.tr("Budget"),
            "runtime": self.tr("Machine"),
        }
        for group, title in titles.items():
            self.tabs.addTab(self._group(group), title)
        self.setLayout(QVBoxLayout())
        self.layout().addWidget(self.tabs)  # type: ignore[union-attr]
        self.layout().addWidget(decision_box(self, self._defaults))  # type: ignore[union-attr]

    def _combo(self, name: str, texts: dict[str, str], title: str) -> QComboBox:
        combo = QComboBox()
        for value in CHOICES[name]:
            combo.addItem(texts.get(value, value), value)
        combo.setCurrentIndex(combo.findData(getattr(self.preferences, name)))
        name_choice(combo, title)
        self.combos[name] = combo
        return combo

    def _general(self) -> QWidget:
        system = self.tr("As the system")
        languages = {"system": system, "en": "English", "ko": "한국어"}
        themes = {"system": system, "light": self.tr("Light"), "dark": self.tr("Dark")}
        presets = {name: preset_name(name) for name in CHOICES["preset"]}
        self.remember = QCheckBox(self.tr("The model knows the earlier questions on a picture"))
        self.remember.setChecked(self.preferences.remember)
        form = QFormLayout()
        form.setVerticalSpacing(12)
        for name, texts, title in (
            ("language", languages, self.tr("Language")),
            ("theme", themes, self.tr("Colours")),
            ("preset", presets, self.tr("How carefully to answer")),
        ):
            form.addRow(title, self._combo(name, texts, title))
        form.addRow(self.tr("Conversations"), self.remember)
        return _page(form)

    def _group(self, group: str) -> QWidget:
        form = QFormLayout()
        form.setVerticalSpacing(12)
        if group == "search":
            note = self.tr("These hold where “Expert” is chosen beside the question.")
            form.addRow(label(note, role="faint", wrap=True))
            strategy, scorer = self.tr("Strategy"), self.tr("Scorer")
            form.addRow(strategy, self._combo("strategy", {}, strategy))
            form.addRow(scorer, self._combo("scorer", {"": self.tr("default")}, scorer))
        values = self.preferences.group(group)
        for name, limits in ranges(GROUPS[group]):
            made = SettingField(group, name, limits, values.get(name))
            self.fields.append(made)
            form.addRow(setting_name(name), made)
        return _page(form)

    def accept(self) -> None:
        """Stays open at the first field that is wrong."""
        chosen = self.preferences
        for made in self.fields:
            made.problem.hide()
        for made in self.fields:
            try:
                chosen = chosen.with_setting(made.group, made.name, made.value())
            except UsageError as error:
                self._complain(made, error)
                return
        for name, kind in GROUPS.items():  # two may be right each, and not together
            try:
                kind(**chosen.group(name))
            except UsageError as error:
                self._complain(self._first_set(name, chosen), error)
                return
        picked = {name: combo.currentData() for name, combo in self.combos.items()}
        self.preferences = replace(chosen, remember=self.remember.isChecked(), **picked)
        super().accept()

    def _first_set(self, group: str, chosen: Preferences) -> SettingField:
        own = chosen.group(group)
        return next(made for made in self.fields if made.group == group and made.name in own)

    def _complain(self, made: SettingField, error: UsageError) -> None:
        made.problem.setText(f"{said(error.message)}. {said(error.hint)}")
        made.problem.show()
        self.tabs.setCurrentIndex(1 + list(GROUPS).index(made.group))
        made.setFocus()

    def _defaults(self) -> None:
        default = Preferences()
        for name, combo in self.combos.items():
            combo.setCurrentIndex(combo.findData(getattr(default, name)))
        self.remember.setChecked(default.remember)
        for made in self.fields:
            if made.edit is not None:
                made.edit.clear()
            elif made.combo is not None:
                made.combo.setCurrentText(str(getattr(GROUPS[made.group](), made.name)))


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _page(form: QFormLayout) -> QWidget:
    inside = QWidget()
    form.setContentsMargins(16, 16, 16, 16)
    form.setHorizontalSpacing(18)
    inside.setLayout(form)
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setWidget(inside)
    return scroll
