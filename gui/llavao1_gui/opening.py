"""Choosing pictures to open. The system's own dialog shows previews itself; Qt's does not."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QFileDialog, QGridLayout, QLabel, QToolButton, QWidget

from llavao1_edge.images import endings
from llavao1_gui.widgets.icons import icon
from llavao1_gui.widgets.layouts import set_role
from llavao1_gui.work.background import Background
from llavao1_gui.work.pictures import previewed

PREVIEW = 220  # logical pixels: the longer side


def choose_pictures(parent: QWidget, folder: str) -> list[Path]:
    """Any number of files, begun in `folder`; none where the dialog was closed."""
    names = " ".join(f"*{ending}" for ending in (*endings(), ".pdf"))
    translate = QCoreApplication.translate
    kinds = translate("OpenDialog", "Pictures ({0})").format(names)
    kinds += ";;" + translate("OpenDialog", "All files (*)")
    title = translate("OpenDialog", "Open pictures")
    dialog = QFileDialog(parent, title, folder, kinds)  # a subclass would never be the system's own
    dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
    dialog.setSupportedSchemes(["file"])
    dialog.setOption(QFileDialog.Option.HideNameFilterDetails)
    layout = dialog.layout()
    if isinstance(layout, QGridLayout):  # Qt's own
        _dress(dialog)
        preview = Preview()
        layout.addWidget(preview, 1, layout.columnCount())
        dialog.currentChanged.connect(preview.show_file)
        dialog.finished.connect(preview.close_down)
        dialog.resize(dialog.width() + PREVIEW + 130, dialog.height() + 40)
    chosen = dialog.selectedFiles() if dialog.exec() else []
    dialog.deleteLater()
    return [Path(name) for name in chosen]


def _dress(dialog: QFileDialog) -> None:
    """Qt's own words are English, and its arrows black on any ground."""
    translate, label = QCoreApplication.translate, QFileDialog.DialogLabel
    dialog.setLabelText(label.LookIn, translate("OpenDialog", "Look in:"))
    dialog.setLabelText(label.FileName, translate("OpenDialog", "File name:"))
    dialog.setLabelText(label.FileType, translate("OpenDialog", "Files of type:"))
    dialog.setLabelText(label.Accept, translate("OpenDialog", "Open"))
    dialog.setLabelText(label.Reject, translate("OpenDialog", "Cancel"))
    drawn = {
        "backButton": "before", "forwardButton": "folded", "toParentButton": "up",
        "newFolderButton": "open", "listModeButton": "batch", "detailModeButton": "list",
    }  # fmt: skip
    for button in dialog.findChildren(QToolButton):
        if button.objectName() in drawn:
            button.setIcon(icon(drawn[button.objectName()]))


class Preview(QLabel):
    """The picture that is chosen now."""

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self.background = Background(self)
        self.background.done.connect(self._show)
        self.setFixedWidth(PREVIEW + 12)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        set_role(self, "faint")
        self._say_nothing()
        self.setAccessibleName(self.text())

    def _say_nothing(self) -> None:
        self.setText(QCoreApplication.translate("OpenDialog", "Preview"))

    def show_file(self, name: str) -> None:
        self._say_nothing()
        path = self.path = Path(name)
        self.background.start(path, lambda: self._looked(path))

    def _looked(self, path: Path) -> QImage:
        """Nothing, where another file was chosen by now."""
        return previewed(path, lambda: self.path == path) if self.path == path else QImage()

    def _show(self, path: Path, image: QImage) -> None:
        if path != self.path or image.isNull():
            return
        ratio = self.devicePixelRatioF()
        side = round(PREVIEW * ratio)
        small = QPixmap.fromImage(image).scaled(
            side,
            side,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        small.setDevicePixelRatio(ratio)
        self.setPixmap(small)

    def close_down(self) -> None:
        self.path = None
        self.background.close()
