"""The page in a real browser: nothing overflows, nothing fails, both themes can be read."""

from __future__ import annotations

import pytest
from report.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"

OVERFLOWING = """(() => {
  const root = document.documentElement;
  const wide = root.scrollWidth > innerWidth ? ["page"] : [];
  const boxed = (e) => e.closest(".scroll, dialog, .unseen, .skip") !== null;
  for (const e of document.body.querySelectorAll("*")) {
    const box = e.getBoundingClientRect();
    if (box.width && !boxed(e) && (box.right > innerWidth + 1 || box.left < -1))
      wide.push(`${e.tagName}.${e.getAttribute("class")} ${e.textContent.slice(0, 40)}`);
  }
  return wide;
})()"""

UNREADABLE = """(() => {
  const channel = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) =>
    0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const parsed = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parsed(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !e.getClientRects().length) continue;
    const [a, b] = [parsed(getComputedStyle(e).color), behind(e)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen += 1;
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${e.tagName} ${e.textContent.slice(0, 40)}`);
  }
  return seen > 300 ? bad : [`only ${seen} texts`];
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def url(written):
    return (written[0] / "report.html").as_uri()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_nothing_overflows_fails_or_cannot_be_read(browser, url, width, height, dark):
    browser.events.clear()
    browser.open(url, width=width, height=height, dark=dark)
    assert browser.run("innerWidth") == width
    browser.run(OPEN_ALL)
    assert browser.run(OVERFLOWING) == []
    assert browser.run(UNREADABLE) == []
    trouble = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event.get("method") in trouble] == []
    loaded = {
        event["params"]["request"]["url"].partition(":")[0]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    }
    assert loaded <= {"file", "data"}


def test_wide_tables_scroll_in_their_own_box_and_keep_their_first_column(browser, url):
    browser.open(url, width=390)
    found = browser.run("""(() => {
      const boxes = [...document.querySelectorAll(".scroll")];
      const wide = boxes.filter((box) => box.scrollWidth > box.clientWidth);
      wide.forEach((box) => { box.scrollLeft = 100; });
      const kept = wide.filter((box) => {
        const first = box.querySelector("tbody th").getBoundingClientRect();
        return Math.abs(first.left - box.getBoundingClientRect().left) < 1.5;
      });
      return [boxes.length, wide.length, kept.length];
    })()""")
    assert found[0] > found[1] > 5
    assert found[2] == found[1]


def test_the_theme_follows_the_system_and_the_button_overrules_it(browser, url):
    paper = "getComputedStyle(document.body).backgroundColor"
    press = "document.getElementById('theme').click()"
    browser.open(url, width=1280)
    browser.run("localStorage.clear()")
    light = browser.run(paper)
    browser.open(url, width=1280, dark=True)
    dark = browser.run(paper)
    assert light != dark
    assert browser.run("document.getElementById('theme').textContent") == "Light"
    browser.run(press)
    assert browser.run(paper) == light
    assert browser.run("document.getElementById('theme').getAttribute('aria-pressed')") == "false"
    browser.open(url + "?theme=dark", width=1280)
    assert browser.run(paper) == dark
    browser.run("document.getElementById('theme').click()")
    assert browser.run(paper) == light
    browser.run("localStorage.clear()")


def test_a_picture_opens_large_moves_on_and_gives_the_focus_back(browser, url):
    browser.open(url, width=1280)
    browser.run("document.querySelectorAll('button.zoom')[1].click()")
    lens = "document.getElementById('lens')"
    browser.until(f"{lens}.open && {lens}.querySelector('img').naturalWidth === 320")
    assert browser.run(f"{lens}.querySelector('img').alt") == "k-nn 0: Plain."
    key = "new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true})"
    browser.run(f"{lens}.dispatchEvent({key})")
    assert browser.run(f"{lens}.querySelector('img').alt") == "k-nn 10"
    fits = f"{lens}.querySelector('img').getBoundingClientRect().right <= innerWidth"
    assert browser.run(fits)
    wide = browser.run(f"{lens}.querySelector('img').getBoundingClientRect().width")
    browser.run(f"{lens}.querySelector('img').click()")
    assert browser.run(f"{lens}.querySelector('img').getBoundingClientRect().width") == 320 < wide
    browser.run(f"{lens}.querySelector('button').click()")
    assert not browser.run(f"{lens}.open")
    browser.until("document.activeElement.getAttribute('aria-label') === 'Enlarge: k-nn 10'")


def test_a_command_is_copied(browser, url):
    browser.open(url, width=1280)
    copied = browser.run("""(async () => {
      const taken = [];
      Object.defineProperty(navigator, "clipboard", {
        value: { writeText: async (text) => { taken.push(text); } }, configurable: true });
      const button = document.querySelector("#again button.copy");
      button.click();
      await new Promise((done) => setTimeout(done));
      const said = document.getElementById("said").textContent;
      return [button.hidden, taken[0], button.textContent, said];
    })()""")
    assert copied[0] is False
    assert copied[1].startswith("densecl evaluate 'DenseCL")
    assert copied[2:] == ["Copied", "Copied"]


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser, url):
    browser.open(url, width=1280)
    browser.run(OPEN_ALL)
    missed = browser.run("""(() => {
      const can = "a[href], button:not([hidden]), summary, [tabindex='0']";
      const shown = [...document.querySelectorAll(can)].filter((e) => e.getClientRects().length);
      return shown.filter((e) => {
        e.focus({ focusVisible: true });
        const { outlineStyle, outlineWidth } = getComputedStyle(e);
        return document.activeElement !== e || outlineStyle === "none" || !parseFloat(outlineWidth);
      }).map((e) => e.outerHTML.slice(0, 80));
    })()""")
    assert missed == []


def test_the_contents_are_folded_on_a_phone_and_open_on_a_desk(browser, url):
    for width, opened in ((390, False), (1280, True)):
        browser.open(url, width=width)
        assert browser.run("document.getElementById('contents').open") is opened


def test_printed_it_is_light_whole_and_without_buttons(browser, url):
    browser.open(url, width=1280, dark=True)
    dark = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("document.querySelectorAll('details:not([open])').length") == 0
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.run("getComputedStyle(document.body).backgroundColor") != dark
    assert browser.run("document.getElementById('theme').getClientRects().length") == 0
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run("document.querySelectorAll('details:not([open])').length") > 3
