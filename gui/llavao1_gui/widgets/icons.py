"""Small line icons, drawn in the theme's text colour."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from llavao1_gui.widgets import theme

PATHS = {
    "open": '<path d="M3 7h6l2 2h10v10H3z"/>',
    "paste": '<path d="M8 5h8v3H8zM6 6H4v15h16V6h-2M8 13h8M8 17h5"/>',
    "screen": '<path d="M3 5h18v12H3zM9 21h6M12 17v4"/>',
    "crop": '<path d="M7 3v14h14M3 7h14v14"/>',
    "eye": '<path d="M2 12c3-6 7-7 10-7s7 1 10 7c-3 6-7 7-10 7S5 18 2 12z"/>'
    '<circle cx="12" cy="12" r="3"/>',
    "stop": '<rect x="6" y="6" width="12" height="12" rx="2"/>',
    "again": '<path d="M20 12a8 8 0 1 1-2.5-5.8M20 3v5h-5"/>',
    "edit": '<path d="M4 20l1-5L16 4l4 4L9 19zM14 6l4 4"/>',
    "copy": '<path d="M8 8h12v12H8zM16 8V4H4v12h4"/>',
    "tree": '<circle cx="5" cy="12" r="2"/><circle cx="12" cy="5" r="2"/>'
    '<circle cx="12" cy="19" r="2"/><circle cx="19" cy="5" r="2"/>'
    '<path d="M7 11l3.5-4.5M7 13l3.5 4.5M14 5h3"/>',
    "settings": '<path d="M4 7h10M18 7h2M4 17h2M10 17h10"/><circle cx="16" cy="7" r="2"/>'
    '<circle cx="8" cy="17" r="2"/>',
    "models": '<path d="M12 3l9 5-9 5-9-5zM3 12l9 5 9-5M3 16l9 5 9-5"/>',
    "batch": '<path d="M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z"/>',
    "sidebar": '<path d="M3 5h18v14H3zM9 5v14"/>',
    "new": '<path d="M12 5v14M5 12h14"/>',
    "close": '<path d="M6 6l12 12M18 6L6 18"/>',
    "folded": '<path d="M9 6l6 6-6 6"/>',
    "before": '<path d="M15 6l-6 6 6 6"/>',
    "up": '<path d="M6 15l6-6 6 6"/>',
    "list": '<path d="M4 6h16M4 12h16M4 18h16"/>',
    "unfolded": '<path d="M6 9l6 6 6-6"/>',
    "fit": '<path d="M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5"/>',
    "export": '<path d="M12 15V4M8 8l4-4 4 4M4 14v6h16v-6"/>',
}
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="{colour}" '
    'stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">{path}</svg>'
)
SIZES = (16, 20, 32, 40, 64)


def icon(name: str, colour: str | None = None) -> QIcon:
    made = QIcon()
    svg = SVG.format(colour=colour or theme.current().text, path=PATHS[name])
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    for size in SIZES:
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter, QRectF(0, 0, size, size))
        painter.end()
        made.addPixmap(pixmap)
    return made
