"""Reads a page back, as a browser would: what its tags are, and what stands in its tables."""

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input"}


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        """Everything that is shown, without the styles."""
        self.rows: dict[str, list[str]] = {}
        """The cells of each table's row by the first words of its heading."""
        self.items: list[list[str]] = []
        """The steps of each ordered list."""
        self._open: list[str] = []
        self._row: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag in {"td", "th"}:
            self._row.append("")
        elif tag == "ol":
            self.items.append([])
        elif tag == "li" and "ol" in self._open:
            self.items[-1].append("")
        elif tag == "span" and self._row:
            self._row[-1] += " "

    def handle_endtag(self, tag: str) -> None:
        """Close what is open; every tag must be."""
        assert self._open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "tr":
            cells = [" ".join(cell.split()) for cell in self._row]
            self._row = []
            self.rows[cells[0]] = cells[1:]

    def handle_data(self, data: str) -> None:
        """Take text in, where it stands."""
        if "style" in self._open:
            return
        self.text += data
        if self._row:
            self._row[-1] += data
        if "ol" in self._open and self.items[-1]:
            self.items[-1][-1] += data

    def row(self, start: str) -> list[str]:
        """The cells of the one row whose heading begins with a word."""
        (found,) = (cells for head, cells in self.rows.items() if head.split(" ")[0] == start)
        return found

    def fact(self, name: str) -> str:
        """What the page says of one thing."""
        (value,) = self.rows[name]
        return value

    @property
    def ids(self) -> list[str]:
        """The sections' names, in their order."""
        return [a["id"] for tag, a in self.tags if tag == "h2"]

    @property
    def steps(self) -> list[list[str]]:
        """The hops of each witness."""
        return [[" ".join(step.split()) for step in steps] for steps in self.items]

    @property
    def plots(self) -> list[str]:
        """What each plot says to whoever cannot see it."""
        return [a["aria-label"] for tag, a in self.tags if tag == "svg" and a["role"] == "img"]
