"""The closed world that a small model can read: numbers, names, colours, icons."""

from __future__ import annotations

from llavao1_edge import demo
from train.scene import RGB

MOST = 200  # numbers are 0 to this, each one token

GROUPS = {
    "days": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "months": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "fruit": ("Apple", "Pear", "Plum", "Lemon", "Fig", "Kiwi"),
    "people": ("Ann", "Ben", "Dora", "Emil", "Finn", "Gina"),
    "drinks": ("Tea", "Milk", "Water", "Juice", "Cola"),
    "cities": ("Rome", "Oslo", "Paris", "Seoul", "Lima", "Cairo"),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)
TITLES = ("Sales", "Rain", "Points", "Visits", "Books", "Trips")
WORDS = (*NAMES, *TITLES)

COLOURS = {**RGB, "grey": (130, 130, 130), "black": (30, 30, 30)}
ICONS = (
    "dog", "cat", "fish", "apple", "banana", "grapes", "carrot", "car", "plane", "rocket", "house",
    "tree", "sun", "star", "heart", "key", "umbrella", "bell", "mushroom", "cactus", "balloon",
    "duck", "snowman", "butterfly",
)  # fmt: skip
UNKNOWN = demo.UNKNOWN
MISSING = "not shown"
