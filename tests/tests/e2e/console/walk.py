"""The whole life of the capability `users`, from the console. Arguments: `mouse` or `keyboard`, admin URL, public URL, token, the world's directory."""

import pathlib
import sqlite3
import sys

from browser import Browser, Keyboard, Mouse, say

HAND, ADMIN, PUBLIC, TOKEN, WORLD = sys.argv[1:6]
WORLD = pathlib.Path(WORLD)
#: A name that would run if it became markup.
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>Ann"


def log_in(browser, hand):
    page = browser.page
    browser.own_requests_may_fail = True
    page.goto(ADMIN)
    hand.write("#token", "not-the-token")
    hand.press("form button[type=submit]")
    browser.sees("This is not the token.")
    if isinstance(hand, Mouse):
        browser.in_every_light("log-in")
    hand.write("#token", TOKEN)
    page.keyboard.press("Enter")
    browser.sees("0 of 1 have left the monolith")
    browser.own_requests_may_fail = False
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""], "the token is kept beyond the tab"


def wish(browser, hand, action, reason="the term is over", **fields):
    """One action with its confirmation."""
    page = browser.page
    hand.press(f"#do-{action}")
    page.wait_for_selector("dialog[open]")
    for name, value in fields.items():
        selector = f"dialog #field-{name}"
        (hand.choose if page.locator(f"dialog select#field-{name}").count() else hand.write)(selector, value)
    if page.locator("dialog input#field-reason").count():
        hand.write("dialog #field-reason", reason)
    if not page.input_value("dialog #field-by"):
        hand.write("dialog #field-by", "registrar")
    hand.send()
    answered = "dialog .problem:not(:empty)"
    browser.until(lambda: not page.locator("dialog").count() or page.locator(answered).count(), f"the end of {action}")
    assert not page.locator("dialog").count(), f"{action}: {page.inner_text(answered)}"


def cancelled(browser):
    """Nothing happens without a reason, or after Escape."""
    page = browser.page
    page.click("#do-begin")
    page.click("dialog button[type=submit]")
    assert page.locator("dialog[open]").count() == 1, "an action without a reason is sent"
    browser.accessible("the dialog")
    browser.picture("dialog")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.id") == "do-begin", "the focus is lost after a dialog"
    browser.phase("draft")


def plant():
    """A row that differs, written past the fence and the log; the id of whose it is."""
    school = sqlite3.connect(WORLD / "school.sqlite3", timeout=20)
    (user,) = school.execute("SELECT id FROM accounts_customuser WHERE username = 'student40'").fetchone()
    school.close()
    service = sqlite3.connect(WORLD / "users.sqlite3", timeout=20, isolation_level=None)
    service.execute("BEGIN IMMEDIATE")
    service.execute("UPDATE _ficus_context SET writer = 'planted'")
    service.execute("UPDATE users SET given_name = ? WHERE legacy_id = ?", (HOSTILE, user))
    service.execute("UPDATE _ficus_context SET writer = NULL")
    service.execute("COMMIT")
    service.close()
    return user


def read_as(browser, name, path):
    """Somebody logs in at the school and reads."""
    page = browser.context.new_page()
    page.goto(f"{PUBLIC}/accounts/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", "ficus-demo-1")
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "/login/" not in url)
    for _ in range(3):
        page.goto(f"{PUBLIC}{path}")
    page.close()


def differences(browser, hand):
    """Something differs: it is shown as what it is, found by a comparison, and repaired."""
    user = plant()
    read_as(browser, "student40", f"/api/v1/users/{user}/")
    browser.sees("first_name")
    mark = browser.page.locator(".samples mark", has_text="onerror").first
    assert HOSTILE[:18] in mark.inner_text(), mark.inner_text()
    wish(browser, hand, "verify")
    browser.sees("Rows that differ")
    browser.sees(f"id={user}: given_name")
    browser.in_every_light("differences")
    wish(browser, hand, "repair")
    wish(browser, hand, "verify")
    browser.until(lambda: "Rows that differ" not in browser.page.inner_text("main"), "the repair")
    assert browser.page.title() == "users · Ficus" and browser.page.locator("main img").count() == 0, "data became markup"


def overrides(browser, hand):
    """A pin, and a flag, and back."""
    wish(browser, hand, "pin", side="legacy", user="7", lasts="900")
    hand.press("#nav a[href='#/flags']")
    browser.sees("Reads of user 7 go to legacy")
    flag = "button[aria-label='Turn new-profile off']"
    for button, seen in ((flag, "Overridden: off"), ("button[aria-label='Clear the override of new-profile']", "File: on")):
        hand.press(button)
        hand.write("dialog #field-reason", "incident 7")
        hand.send()
        browser.sees(seen)
    browser.until(lambda: "Overridden" not in browser.page.inner_text("main"), "the flag to follow its file")
    browser.in_every_light("flags")
    hand.press("button[aria-label='Remove the pin of users']")
    hand.write("dialog #field-reason", "it is over")
    hand.send()
    browser.sees("No reads are pinned")


def asked(browser, hand):
    """A request that is only asked about."""
    hand.press("#nav a[href='#/request']")
    hand.write("#ask-target", "/api/v1/users/42/")
    hand.write("#ask-user", "42")
    hand.press("main form button[type=submit]")
    browser.sees("Because")
    browser.sees("users.toml:")
    if isinstance(hand, Mouse):
        browser.in_every_light("request")
    hand.write("#ask-target", "/a%2fb")
    browser.own_requests_may_fail = True
    hand.press("main form button[type=submit]")
    browser.sees("the gateway answers 400")
    browser.own_requests_may_fail = False


def broken_rules(browser, hand):
    """A file that is wrong is shown with its place and a hint; what serves goes on."""
    file = WORLD / "rules/users.toml"
    sound = file.read_text()
    hand.press("#nav a[href='#/rules']")
    browser.sees("Nothing is wrong.")
    file.write_text(sound.replace('hold = "5s"', 'hold = "5 parsecs"', 1))
    browser.sees("users.toml:50:")
    browser.sees("5 parsecs")
    browser.in_every_light("rules")
    file.write_text(sound)
    browser.sees("Nothing is wrong.")
    hand.press("summary >> text=users.toml" if isinstance(hand, Mouse) else "summary")
    hand.press("#nav a[href='#/journal']")
    browser.sees("rules")


def aborted(browser, hand):
    """Somebody writes for long: the switch waits, and is aborted."""
    writer = sqlite3.connect(WORLD / "school.sqlite3", timeout=20, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    wish(browser, hand, "cutover")
    wish(browser, hand, "abort", reason="somebody writes")
    writer.execute("ROLLBACK")
    writer.close()
    browser.until(lambda: browser.page.locator("#do-abort").count() == 0, "the abort")
    browser.phase("ramping")


def open_capability(browser, hand):
    hand.press("#nav a[href='#/']")
    browser.sees("have left the monolith")
    hand.press("a[href='#/capability/users']")
    browser.page.wait_for_selector("main h1 .phase")
    assert browser.page.evaluate("document.activeElement.tagName") == "H1", "a new page does not get the focus"


def by_mouse(browser, hand):
    (WORLD / "rules/flags.toml").write_text('[flag.new-profile]\ndescription = "The new page"\ndefault = true\n')
    browser.in_every_light("board-draft")
    open_capability(browser, hand)
    cancelled(browser)
    wish(browser, hand, "begin")
    browser.phase("shadowing")
    wish(browser, hand, "hold", reason="exam week")
    browser.sees("Held: exam week")
    say("shadowing")
    differences(browser, hand)
    overrides(browser, hand)
    asked(browser, hand)
    broken_rules(browser, hand)
    open_capability(browser, hand)
    wish(browser, hand, "release", reason="")
    browser.phase("ramping")
    say("ramping")
    browser.page.wait_for_selector("#do-approve", timeout=90_000)
    browser.in_every_light("capability-ramping")
    hand.press("#nav a[href='#/']")
    browser.sees("Reads on modern")
    browser.in_every_light("board-ramping")
    open_capability(browser, hand)
    aborted(browser, hand)
    say("aborted")
    browser.page.wait_for_selector("#do-release, #do-approve")
    if browser.page.locator("#do-release").count():
        wish(browser, hand, "release", reason="")
    wish(browser, hand, "cutover")
    browser.phase("soaking")
    browser.sees("Last pause of writes")
    browser.in_every_light("capability-soaking")
    hand.press("#nav a[href='#/']")
    browser.sees("1 of 1 have left the monolith")
    browser.in_every_light("board-soaking")
    open_capability(browser, hand)
    wish(browser, hand, "revert", reason="the service is slow")
    browser.phase("reverted")
    browser.sees("the service is slow")
    say("reverted by mouse")


def by_keyboard(browser, hand):
    # The link that skips the navigation is the first thing on the page.
    browser.page.evaluate("document.activeElement.blur()")
    hand.press("#skip")
    assert browser.page.evaluate("document.activeElement.id") == "page", "the link skips to nowhere"
    open_capability(browser, hand)
    wish(browser, hand, "begin")
    browser.phase("shadowing")
    wish(browser, hand, "hold", reason="exam week")
    browser.sees("Held:")
    asked(browser, hand)
    open_capability(browser, hand)
    wish(browser, hand, "pin", side="legacy", user="7", lasts="900")
    wish(browser, hand, "release", reason="")
    browser.phase("ramping")
    say("ramping by keyboard")
    browser.page.wait_for_selector("#do-approve", timeout=90_000)
    wish(browser, hand, "approve")
    browser.phase("soaking")
    wish(browser, hand, "revert")
    browser.phase("reverted")
    say("reverted by keyboard")
    hand.press("#leave")
    browser.page.wait_for_selector("#token")
    assert browser.page.evaluate("sessionStorage.getItem('ficus-token')") is None, "the token outlives the log-out"


def main():
    browser = Browser(ADMIN, WORLD / "pictures")
    try:
        hand = {"mouse": Mouse, "keyboard": Keyboard}[HAND](browser)
        log_in(browser, hand)
        (by_mouse if HAND == "mouse" else by_keyboard)(browser, hand)
        assert not browser.complaints, f"the browser complains: {browser.complaints}"
        assert not browser.foreign, f"requests to others: {browser.foreign}"
    finally:
        browser.close()


main()
