"""Look at pages in a real browser: nothing is loaded or complained about, and all of it fits a phone.

Needs a Chromium on PATH (Debian: `apt-get install chromium`), or its path in POLARCHIVE_BROWSER.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import polarchive as pol
from polarchive.verification import policies
from polarchive.verification.finding import Outcome
from polarchive.verification.page.document import page
from tests.pages import HOSTILE, hostile, long, replayed, stamped

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PAGES = ("accepted", "rejected", "hostile")
SCHEMES = ("light", "dark")
WIDTHS = (360, 1280)
PAPER = {"light": "rgb(252, 251, 249)", "dark": "rgb(19, 20, 22)"}
SCRIPT = "document.body.appendChild(document.createElement('img')).src = 'https://stranger.example/x.png'"
CONTRAST = """
() => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(each => each / 255)
      .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.documentElement).backgroundColor);
  const ratio = ink => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  const said = [...document.querySelectorAll("h1, h2, p, li, td, th, caption, figcaption, summary, span, text")];
  return Math.min(...said.map(each => {
    const style = getComputedStyle(each);
    return ratio(light(each.tagName === "text" ? style.fill : style.color));
  }));
}
"""


@pytest.fixture(scope="module")
def pages(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    accepted = stamped(honest, folder / "run.pol", policies.strict())
    rejected = long(accepted, 300, replayed(17, 0.8, Outcome.FAILED), replayed(250, float("nan"), Outcome.FAILED))
    verdicts = {"accepted": accepted, "rejected": rejected, "hostile": hostile(folder / "hostile")}
    return {name: write(folder / f"{name}.html", verdict) for name, verdict in verdicts.items()}


def write(path: Path, verdict: pol.Verdict) -> Path:
    path.write_text(page(verdict), "utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    found = os.environ.get("POLARCHIVE_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on PATH, and POLARCHIVE_BROWSER names none")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


class Look:
    """Open a page as a reader does, and keep what the browser asked for and complained about."""

    def __init__(self, browser: "playwright.Browser", path: Path, width: int = 1280, scheme: str = "light") -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.tab = self._context.new_page()
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.as_uri())
        self.tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

    def __enter__(self) -> "Look":
        return self

    def __exit__(self, *error: object) -> None:
        self._context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_page_is_calm_and_fits(
    name: str, scheme: str, width: int, browser: "playwright.Browser", pages: dict[str, Path]
) -> None:
    with Look(browser, pages[name], width, scheme) as look:
        assert look.tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == PAPER[scheme]
        assert look.tab.evaluate("document.documentElement.scrollWidth") <= width
        outside = "[...document.querySelectorAll('main *')].filter(each => each.getBoundingClientRect().right > "
        assert look.tab.evaluate(f"{outside} {width} + 1).map(each => each.outerHTML.slice(0, 80))") == []
        assert look.tab.evaluate(CONTRAST) >= 4.5  # what WCAG 2 asks of text
        assert look.complaints == [] and look.asked == [pages[name].as_uri()]


def test_names_are_seen_as_they_are(browser: "playwright.Browser", pages: dict[str, Path]) -> None:
    with Look(browser, pages["hostile"]) as look:
        assert HOSTILE in look.tab.inner_text("main")
        assert look.tab.evaluate("document.querySelectorAll('img, script').length") == 0


def test_what_got_in_could_load_nothing(browser: "playwright.Browser", pages: dict[str, Path]) -> None:
    with Look(browser, pages["accepted"]) as look:
        look.tab.evaluate(SCRIPT)
        look.tab.wait_for_timeout(200)
        assert any("Content Security Policy" in each for each in look.complaints)


def test_pictures_are_told_to_who_cannot_see(browser: "playwright.Browser", pages: dict[str, Path]) -> None:
    with Look(browser, pages["rejected"]) as look:
        names = [each.get_attribute("aria-label") for each in look.tab.get_by_role("img").all()]
        assert len(names) == 3 and "2 failed" in str(names[0])
        assert look.tab.get_by_role("heading", level=1).inner_text() == "Rejected"
        assert look.tab.get_by_role("table").count() >= 6
