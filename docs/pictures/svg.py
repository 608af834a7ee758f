"""Writes what screens showed over time as one SVG that plays in a loop, by styles alone.

Equal rows are written once. Each is shown at a place for an interval of time, and equal intervals share their styles.
Without animation, or for somebody who wants none, the picture shows the moment of the poster.
"""
import re
from itertools import groupby
from xml.sax.saxutils import escape

FONT = 14
CELL, LINE, ASCENT = 8.4, 18, 13 # the size of a character, and how much of it is above the baseline
MARGIN, BAR = 14, 30 # around a screen, and the title above it
# One palette, on a background of its own, is readable on a white page and on a black one.
BACKGROUND, BORDER, TITLE, TEXT, DIM = "#16181d", "#4b5160", "#9aa3b5", "#e4e7ee", "#98a1b3"
COLOURS = {1: "#ff7b72", 2: "#57c98b", 3: "#e3b341", 4: "#79b8ff", 5: "#d2a8ff", 6: "#76d9e6"}

def number(value):
    """Writes a number as short as it can be."""
    return f"{value:.2f}".rstrip("0").rstrip(".")

def runs(row):
    """Yields the column, the width, the text and the look of neighbouring cells with one look."""
    cells = [(column, char, look, row[column + 1][0] == "" if column + 1 < len(row) else False)
             for column, (char, look) in enumerate(row) if char]
    for (look, is_wide), group in groupby(cells, key=lambda cell: cell[2:]):
        group = list(group)
        first, text = group[0][0], "".join(char for _, char, *_ in group)
        # A coloured background counts with its blanks. Elsewhere they only move what follows.
        for part in re.finditer(".+" if look[3] else r"\S+(?: \S+)*", text):
            size = 2 if is_wide else 1
            yield first + size * part.start(), size * len(part[0]), part[0], look

def drawn(row):
    """Returns a row as SVG, from the left end of its baseline."""
    parts = []
    for column, width, text, (colour, bold, dim, reverse) in runs(row):
        fill = COLOURS.get(colour, TEXT)
        if reverse:
            parts.append(f'<path fill="{fill}" d="M{number(column * CELL)} -{ASCENT}h{number(width * CELL)}v{LINE}'
                         f'h-{number(width * CELL)}z"/>')
            column, text, fill = column + len(text) - len(text.lstrip()), text.strip(), BACKGROUND
            width = len(text)
        if text:
            style = ' class="b"' if bold else ' class="d"' if dim and not reverse else ""
            style += f' fill="{fill}"' if fill != TEXT else ""
            # Whatever the width of the font, the characters stand in their columns.
            length = f' textLength="{number(width * CELL)}"' if width > 1 else ""
            parts.append(f'<text x="{number(column * CELL)}"{length}{style}>{escape(text)}</text>')
    return "".join(parts)

def intervals(frames, end):
    """Yields `(from, until, row)` for each time in which a row of a screen stays the same."""
    shown, since = frames[0][1], frames[0][0]
    for at, row in [*frames[1:], (end, None)]:
        if row != shown:
            yield since, at, shown
            shown, since = row, at

def animation(name, start, stop, seconds, at_poster):
    """Returns the styles of what is visible from a time until another."""
    from_, until = (number(100 * time / seconds) for time in (start, stop))
    frames = f"{from_}%{{opacity:1}}"
    if start > 0:
        frames = "0%{opacity:0}" + frames
    if stop < seconds:
        frames += f"{until}%{{opacity:0}}"
    still = f".{name}{{opacity:1}}" if at_poster else ""
    return f"@keyframes {name}{{{frames}}}.{name}{{animation-name:{name}}}{still}"

def write(panes, seconds, poster, description):
    """Returns the picture. A pane is a title, a size in cells, and frames: lists of `(time, rows)`."""
    known, styles, placed, body, top = {}, {}, [], [], 0
    width = 2 * MARGIN + max(columns for _, (columns, _), _ in panes) * CELL
    for title, (_, rows), frames in panes:
        height = BAR + rows * LINE + MARGIN
        body.append(f'<rect x=".5" y="{top + .5}" width="{number(width - 1)}" height="{height - 1}" rx="8" '
                    f'fill="{BACKGROUND}" stroke="{BORDER}"/><text x="{MARGIN}" y="{top + 20}" fill="{TITLE}">'
                    f'{escape(title)}</text>')
        for index in range(rows):
            y = top + BAR + index * LINE + ASCENT
            for start, stop, row in intervals([(at, tuple(rows[index])) for at, rows in frames], seconds):
                content = drawn(row)
                if content:
                    content = known.setdefault(content, f"r{len(known)}")
                    style = styles.setdefault((start, stop), f"t{len(styles)}")
                    placed.append(f'<use href="#{content}" x="{MARGIN}" y="{y}" class="{style}"/>')
        top += height + 8
    height = top - 8
    css = (f"text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',"
           f"monospace;white-space:pre}}.b{{font-weight:700}}.d{{fill:{DIM}}}"
           f"use{{opacity:0;animation:{number(seconds)}s step-end infinite}}")
    css += "".join(animation(name, start, stop, seconds, start <= poster < stop)
                   for (start, stop), name in styles.items())
    css += "@media(prefers-reduced-motion:reduce){use{animation:none!important}}"
    rows = "".join(f'<g id="{name}">{content}</g>' for content, name in known.items())
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {height}" width="{number(width)}" '
            f'height="{height}" fill="{TEXT}"><title>{escape(description)}</title><style>{css}</style>'
            f'<defs>{rows}</defs>\n{"".join(body)}\n{"".join(placed)}\n</svg>\n')
