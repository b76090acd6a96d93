"""Chromium as a person sits before it: a mouse, or a keyboard only. Whatever the browser complains about is kept."""

import json
import os
import shutil
import tempfile
import time

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from reader import readable

# What keeps a browser from calling its maker, and lets it run as root inside a sandbox of the machine.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
PATIENCE = 120


class Browser:
    def __init__(self, admin, pictures, beside=None, **device):
        self.admin, self.pictures, self.complaints, self.foreign = admin, pictures, [], []
        self.own_requests_may_fail = False
        self.home = tempfile.mkdtemp(prefix="console-browser-")
        # A second one beside the first is driven by the same Playwright.
        self.beside = beside
        self.playwright = beside.playwright if beside else sync_playwright().start()
        binary = os.environ.get("FICUS_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
        self.context = self.playwright.chromium.launch_persistent_context(
            self.home, executable_path=binary, headless=True, args=FLAGS, **{"viewport": {"width": 1280, "height": 900}, **device})
        self.page = self.context.pages[0]
        self.page.on("console", self.noted)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self.asked)
        # axe itself is no file of the console: the policy must not keep the test from looking.
        self.page.set_default_timeout(PATIENCE * 1000)

    def noted(self, message):
        refused = "Failed to load resource" in message.text and self.own_requests_may_fail
        if message.type in ("error", "warning") and not refused:
            self.complaints.append(f"{message.type}: {message.text}")

    def asked(self, request):
        if not request.url.startswith(self.admin):
            self.foreign.append(request.url)

    def close(self):
        self.context.close()
        if not self.beside:
            self.playwright.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def picture(self, name):
        os.makedirs(self.pictures, exist_ok=True)
        self.page.screenshot(path=os.path.join(self.pictures, f"{name}.png"), full_page=True)

    def accessible(self, where):
        """axe finds nothing serious."""
        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not grave, f"axe on {where}: " + json.dumps([(one["id"], one["help"], [n["html"][:200] for n in one["nodes"]]) for one in grave], indent=1)

    def in_every_light(self, name):
        """Accessible and not wider than the window: light and dark, on a desk and on a phone; and as a screen reader is told it."""
        readable(self.page, name)
        for scheme in ("light", "dark"):
            for width in (1280, 360):
                self.page.emulate_media(color_scheme=scheme)
                self.page.set_viewport_size({"width": width, "height": 900})
                self.page.wait_for_timeout(250)
                wide = self.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} px wide in a window of {width}"
                self.accessible(f"{name}, {scheme}, {width} px")
                self.picture(f"{name}-{scheme}-{width}")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1280, "height": 900})

    def sees(self, text, patience=PATIENCE):
        """Waits until the page says something."""
        self.until(lambda: text in self.page.inner_text("body"), f"{text!r} on the page", patience)

    def phase(self, name, patience=PATIENCE):
        self.until(lambda: self.page.inner_text("main h1 .phase") == name, f"phase {name}", patience)

    def until(self, seen, what, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not seen():
            if time.monotonic() > deadline:
                self.picture("vain")
                raise AssertionError(f"waited in vain for {what}; the page says:\n{self.page.inner_text('body')}")
            self.page.wait_for_timeout(50)


class Mouse:
    """Points and clicks; types into fields."""

    def __init__(self, browser):
        self.browser, self.page = browser, browser.page

    def press(self, selector):
        self.page.click(selector)

    def write(self, selector, text):
        self.page.click(selector)
        self.page.fill(selector, text)

    def choose(self, selector, value):
        self.page.select_option(selector, value)

    def send(self):
        self.page.click("dialog button[type=submit]")


class Finger(Mouse):
    """Touches a phone."""

    def press(self, selector):
        self.page.tap(selector)

    def write(self, selector, text):
        self.page.tap(selector)
        self.page.fill(selector, text)

    def send(self):
        self.page.tap("dialog button[type=submit]")


class Keyboard:
    """Tab, Enter and letters: no pointer."""

    def __init__(self, browser):
        self.browser, self.page = browser, browser.page

    def reach(self, selector):
        self.page.wait_for_selector(selector)
        for _ in range(120):
            if self.page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                ring = self.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert ring != "none", f"{selector} has the focus and does not show it"
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by Tab")

    def press(self, selector):
        self.reach(selector)
        self.page.keyboard.press("Enter")

    def write(self, selector, text):
        self.reach(selector)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def choose(self, selector, value):
        self.reach(selector)
        self.page.keyboard.press("Home")
        for _ in range(20):
            if self.page.input_value(selector) == value:
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"{value} cannot be chosen in {selector}")

    def send(self):
        # In a text field Enter sends the form; a list of choices takes it for itself.
        if not self.page.evaluate("document.activeElement.matches('input')"):
            self.reach("dialog button[type=submit]")
        self.page.keyboard.press("Enter")


def say(text):
    print(text, flush=True)


