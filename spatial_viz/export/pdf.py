"""A4 sheets with text that can be selected, pictures and plain tables, in the project's font."""

from __future__ import annotations

import io
from collections.abc import Sequence

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from PIL import Image

from spatial_viz.export.raster import BOLD, REGULAR, fitted, lines_of

FAMILY = "DejaVu"
MARGIN = 17.0  # millimetres, like all lengths here
WIDTH = 210 - 2 * MARGIN  # between the margins
MUTED, TEXT = (93, 95, 107), (38, 39, 48)


class Sheets(FPDF):
    """A document that grows from top to bottom. ``foot`` stands at the end of every page, beside its number."""

    def __init__(self, title: str, foot: str) -> None:
        super().__init__(format="A4")
        self.foot = foot
        self.add_font(FAMILY, "", str(REGULAR))
        self.add_font(FAMILY, "B", str(BOLD))
        self.set_margins(MARGIN, MARGIN)
        self.c_margin = 0.0  # text begins where pictures begin
        self.set_auto_page_break(True, MARGIN + 6)
        self.set_title(title)
        self.set_lang("en")
        self.set_creator("spatial_viz")
        self.letters(9.5)
        self.add_page()

    def footer(self) -> None:
        """At the end of every page."""
        self.set_y(-MARGIN + 2)
        self.letters(7.5, colour=MUTED)
        self.cell(WIDTH - 12, 4, self.foot)
        self.cell(12, 4, f"{self.page_no()} / {{nb}}", align="R")
        self.letters(9.5)

    def letters(self, size: float, bold: bool = False, colour: tuple[int, int, int] = TEXT) -> None:
        """The type of what comes next; ``size`` in points."""
        self.set_font(FAMILY, "B" if bold else "", size)
        self.set_text_color(*colour)

    def room(self, height: float) -> None:
        """Go on with a new page where less than ``height`` is left of this one."""
        if self.get_y() + height > self.h - self.b_margin:
            self.add_page()

    def title_line(self, text: str, below: str) -> None:
        self.letters(16, bold=True)
        self._lines(8, text)
        self.letters(10, colour=MUTED)
        self._lines(5, below)
        self.ln(3)

    def heading(self, text: str, room: float = 30) -> None:
        """A heading, on a page that has ``room`` below it."""
        self.room(room)
        self.ln(2.5)
        self.letters(12.5, bold=True)
        self._lines(6, text)
        self.ln(0.8)

    def paragraph(self, text: str, size: float = 10.5, colour: tuple[int, int, int] = TEXT) -> None:
        """A paragraph of our own words: ``**bold**`` and links as in Markdown."""
        self.letters(size, colour=colour)
        self._lines(0.5 * size, text, markdown=True)
        self.ln(1.6)

    def small(self, text: str) -> None:
        """A remark below something, as plain text."""
        self.letters(7, colour=MUTED)
        self._lines(3.4, text)
        self.ln(1.6)

    def words(
        self, x: float, y: float, width: float, text: str, size: float = 8, *, bold: bool = False,
        colour: tuple[int, int, int] = TEXT, align: str = "L", lines: int = 1,
    ) -> None:  # fmt: skip
        """Plain text at a place, in at most so many lines; what is too long ends in an ellipsis."""
        self.letters(size, bold, colour)
        for number, line in enumerate(lines_of(text, self.get_string_width, width, lines)):
            self.set_xy(x, y + 0.45 * size * number)
            self.cell(width, 0.45 * size, line, align=align)

    def picture(self, image: Image.Image, x: float, y: float, width: float, height: float, alt: str) -> None:
        """A picture in a box, with what a screen reader says."""
        stream = io.BytesIO()
        image.save(stream, "PNG")
        self.image(stream, x, y, width, height, alt_text=alt)

    def rows(self, head: Sequence[str], body: Sequence[Sequence[str]], widths: Sequence[float]) -> None:
        """A table; ``widths`` in millimetres, the first column to the left, the others to the right."""
        self.room(8 + 5 * min(len(body), 4))
        for number, row in enumerate((head, *body)):
            self.room(5)
            self.letters(8.5, bold=number == 0)
            for column, (text, width) in enumerate(zip(row, widths, strict=True)):
                self.cell(
                    width, 5, fitted(text, self.get_string_width, width - 2), border="B", align="R" if column else "L"
                )
            self.ln(5)
        self.ln(1.5)

    def _lines(self, height: float, text: str, markdown: bool = False) -> None:
        """Text over the whole width, in lines of that height."""
        self.multi_cell(WIDTH, height, text, markdown=markdown, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
