"""A screen of fixed size that understands what `throng` and a plain shell write, and nothing else.

`throng chat` uses few of a terminal's sequences. One that is missing here is an error, not something to skip: the
picture would be wrong without a word.
"""
import re, unicodedata

# The looks of a cell. `colour` is one of the sixteen of a terminal, or none.
PLAIN = {"colour": None, "bold": False, "dim": False, "reverse": False}
# Modes that change nothing that a picture shows: the cursor, the alternate screen, bracketed paste, mouse and focus.
SILENT_MODES = {"25", "1049", "2004", "1000", "1002", "1003", "1004", "1006", "1015"}
SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")
# Longest beginning of a sequence whose rest may still come.
MAX_UNFINISHED = 32

class Screen:
    """Rows of cells; a cell is a character and its look. The second half of a wide character is empty."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.look, self.unfinished = dict(PLAIN), ""
        self.clear()

    def clear(self):
        self.cells = [self.blank() for _ in range(self.rows)]
        self.x = self.y = 0

    def blank(self):
        return [(" ", tuple(PLAIN.values()))] * self.columns

    def text(self):
        return "\n".join("".join(char for char, _ in row).rstrip() for row in self.cells)

    def feed(self, text):
        """Interprets what a program has written. The end of a sequence may come with the next call."""
        text, at = self.unfinished + text, 0
        self.unfinished = ""
        while at < len(text):
            if text[at] == "\x1b":
                sequence = SEQUENCE.match(text, at)
                if not sequence and len(text) - at < MAX_UNFINISHED and re.fullmatch(r"\x1b(\[\??[0-9;]*)?", text[at:]):
                    self.unfinished = text[at:]
                    return
                if not sequence:
                    raise SystemExit(f"unknown sequence: {text[at:at + MAX_UNFINISHED]!r}")
                self.control(*sequence.groups())
                at = sequence.end()
            else:
                self.put(text[at])
                at += 1

    def put(self, char):
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.line_feed()
        elif char == "\b":
            self.x = max(self.x - 1, 0)
        elif ord(char) < 32:
            raise SystemExit(f"unknown control character: {char!r}")
        else:
            width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if self.x + width > self.columns:
                self.x = 0
                self.line_feed()
            look = tuple(self.look.values())
            self.cells[self.y][self.x] = (char, look)
            if width == 2:
                self.cells[self.y][self.x + 1] = ("", look)
            self.x += width

    def line_feed(self):
        if self.y + 1 < self.rows:
            self.y += 1
        else:
            self.cells = [*self.cells[1:], self.blank()]

    def control(self, private, numbers, kind):
        values = [int(number or 0) for number in numbers.split(";")]
        if private and kind in "hl" and numbers in SILENT_MODES:
            if numbers == "1049":
                self.clear()
        elif not private and kind == "H" and len(values) <= 2:
            row, column = (values + [1])[:2]
            self.y, self.x = min(max(row, 1), self.rows) - 1, min(max(column, 1), self.columns) - 1
        elif not private and kind == "J" and values == [2]:
            place = (self.x, self.y)
            self.clear()
            self.x, self.y = place
        elif not private and kind == "m":
            self.style(values)
        else:
            raise SystemExit(f"unknown sequence: ESC[{private}{numbers}{kind}")

    def style(self, values):
        values = list(values)
        while values:
            value = values.pop(0)
            if value == 0:
                self.look = dict(PLAIN)
            elif value in (1, 2, 7):
                self.look[{1: "bold", 2: "dim", 7: "reverse"}[value]] = True
            elif value == 22:
                self.look.update(bold=False, dim=False)
            elif value == 27:
                self.look["reverse"] = False
            elif value == 38 and len(values) >= 2 and values[0] == 5 and values[1] < 16:
                self.look["colour"] = values[1]
                del values[:2]
            elif 30 <= value <= 37:
                self.look["colour"] = value - 30
            elif value == 39:
                self.look["colour"] = None
            elif value not in (49, 59): # the usual background, and the usual colour of underlines: there are no others
                raise SystemExit(f"unknown style: {value} in ESC[{values}m")
