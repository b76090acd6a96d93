"""Walks through the console, each in a world of its own. `mouse` and `keyboard`: the whole life of the capability `users`; `phone`: before it begins;
`pages`: everything that there is to see and to do while it shadows; `dialogs`: every question, looked at; `keys`: by keyboard what a life does not need; `failing`: the service goes during the ramp.
Arguments: which walk, admin URL, public URL, token, the world's directory.
"""

import pathlib
import sqlite3
import sys
import time

from browser import Browser, Finger, Keyboard, Mouse, say
from live import live

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
    if HAND in ("mouse", "keyboard"):
        browser.in_every_light(f"log-in-{HAND}")
    hand.write("#token", f"{TOKEN}-operator")
    page.keyboard.press("Enter")
    browser.sees("0 of 1 have left the monolith")
    browser.own_requests_may_fail = False
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""], "the token is kept beyond the tab"


def as_(browser, hand, token):
    """Somebody else sits down, and opens the capability."""
    hand.press("#leave")
    browser.page.wait_for_selector("#token")
    assert browser.page.evaluate("sessionStorage.getItem('ficus-token')") is None, "the token outlives the log-out"
    hand.write("#token", token)
    browser.page.keyboard.press("Enter")
    browser.page.wait_for_selector("#leave")
    open_capability(browser, hand)


def refused(browser, hand, action, sentence):
    """What this token may not do is said in the dialog, and nothing happens."""
    before = browser.page.inner_text("main h1")
    browser.own_requests_may_fail = True
    hand.press(f"#do-{action}")
    hand.write("dialog #field-reason", "to see whether I may")
    if not browser.page.input_value("dialog #field-by"):
        hand.write("dialog #field-by", "somebody")
    hand.send()
    browser.until(lambda: sentence in browser.page.inner_text("dialog"), f"{sentence!r} for {action}")
    assert browser.page.evaluate("document.activeElement.type") == "submit", "the focus is lost after a refusal"
    browser.in_every_light(f"refused-{action}-{HAND}")
    browser.page.keyboard.press("Escape")
    browser.page.wait_for_selector("dialog", state="detached")
    browser.own_requests_may_fail = False
    assert browser.page.inner_text("main h1") == before and "to see whether I may" not in browser.page.inner_text("main")


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
    focused(browser, f"after {action}")


def focused(browser, when):
    """Whoever works by keyboard goes on where they are: at what they pressed, or, if that is gone, at the top of the page."""
    browser.until(lambda: browser.page.evaluate("document.getElementById('page').contains(document.activeElement)"), f"the focus {when}", 3)


def every_dialog(browser, hand):
    """Each question that the console asks, looked at: those of all phases, those of flags and pins, and that of the rules."""
    page = browser.page
    place = """async (phase) => {
        const { buttons, unpin, flag, reload } = await import("/console/actions.js");
        const one = { phase, owner: "legacy", holds: ["exam week", "the marks"], waiting_for: [{ kind: "wish", text: "`ficus approve`" }], switch: phase === "draining" ? {} : null, drift_rows: 1, quarantined: 0 };
        window.questions = Object.fromEntries([...buttons("users", one, { tables: [{}] }).querySelectorAll("button")].map((button) => [button.id.slice(3), () => button.click()]));
        Object.assign(window.questions, { unpin: () => unpin({ capability: "users", user: "7" }), on: () => flag("new-profile", { on: true }), off: () => flag("new-profile", { on: false }),
            variant: () => flag("page-size", { variant: "large" }), clear: () => flag("new-profile", null), reload });
        return Object.keys(window.questions);
    }"""
    looked = set()
    for phase in ("draft", "ramping", "soaking", "draining"):
        for question in page.evaluate(place, phase):
            if question in looked:
                continue
            page.evaluate("(question) => window.questions[question]()", question)
            page.wait_for_selector("dialog[open]")
            browser.in_every_light(f"dialog-{question}")
            page.keyboard.press("Escape")
            page.wait_for_selector("dialog", state="detached")
            looked.add(question)
    assert looked == {"begin", "advance", "approve", "hold", "release", "cutover", "abort", "revert", "retire", "pin", "verify", "repair",
                      "unpin", "on", "off", "variant", "clear", "reload"}, looked


def cancelled(browser, seen):
    """Nothing happens without a reason, or after Escape: of none of the actions that are offered."""
    page = browser.page
    actions = page.eval_on_selector_all("main .actions button[id^=do-]", "all => all.map(({ id }) => id)")
    assert actions, "nothing is offered"
    sent = []
    noted = lambda request: request.method in ("GET", "HEAD") or sent.append(request.url)
    page.on("request", noted)
    for action in actions:
        page.click(f"#{action}")
        assert page.locator("dialog #field-reason[required]").count() == 1, f"{action} asks for no reason"
        page.fill("dialog #field-by", "registrar")
        page.click("dialog button[type=submit]")
        assert page.locator("dialog[open]").count() == 1, f"{action} without a reason is sent"
        if action == "do-begin":
            browser.in_every_light("dialog")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert page.evaluate("document.activeElement.id") == action, "the focus is lost after a dialog"
    page.remove_listener("request", noted)
    assert not sent, f"sent without a reason: {sent}"
    seen.update(actions)


def listened(browser):
    """Keeps whatever is said aloud from now on."""
    browser.page.evaluate("""() => {
        window.heard = [];
        new MutationObserver(() => window.heard.push(document.getElementById("said").textContent)).observe(document.getElementById("said"), { childList: true });
    }""")


def heard(browser, sentence):
    browser.until(lambda: any(sentence in said for said in browser.page.evaluate("window.heard")), f"{sentence!r} to be said aloud")


def by_finger(browser):
    """On a phone: held before it begins, seen to be, and released."""
    phone = Browser(ADMIN, WORLD / "pictures", beside=browser, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, device_scale_factor=2)
    try:
        finger = Finger(phone)
        phone.own_requests_may_fail = True
        phone.page.goto(ADMIN)
        finger.write("#token", f"{TOKEN}-operator")
        finger.press("form button[type=submit]")
        phone.sees("0 of 1 have left the monolith")
        phone.own_requests_may_fail = False
        finger.press("a[href='#/capability/users']")
        phone.phase("draft")
        wish(phone, finger, "hold", reason="exam week")
        phone.until(lambda: "held: exam week" in phone.page.inner_text(".waiting").lower(), "the hold among what is waited for")
        phone.accessible("a phone")
        phone.picture("phone-held")
        wish(phone, finger, "release", reason="the marks are in", hold="exam week")
        phone.until(lambda: phone.page.locator("#do-release").count() == 0, "the release")
        phone.sees("the marks are in")
        assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390, "wider than the phone"
        assert not phone.complaints and not phone.foreign, (phone.complaints, phone.foreign)
    finally:
        phone.close()
    say("held and released by finger")


def addresses(browser):
    """An address that names no page, or that is not encoded rightly, leads somewhere."""
    page = browser.page
    page.evaluate("location.hash = '#/constructor'")
    browser.sees("have left the monolith")
    page.evaluate("location.hash = '#/capability/%'")
    browser.sees("name no such capability")
    page.evaluate("location.hash = '#/'")
    browser.sees("have left the monolith")


def another_leads(browser):
    """An orchestrator that leads no longer sends elsewhere: the page is loaded anew, which leads there, and asks nobody else by itself."""
    page = browser.page
    loaded = []
    noted = lambda request: request.is_navigation_request() and loaded.append(request.url)
    page.on("request", noted)
    page.route("**/api/v1/events", lambda route: route.fulfill(status=307, headers={"location": "http://elsewhere.invalid/api/v1/events"}))
    page.reload()
    browser.until(lambda: len(loaded) >= 2, "the page to be loaded anew")
    page.unroute("**/api/v1/events")
    page.remove_listener("request", noted)
    browser.until(lambda: page.locator(".connection").count() and page.inner_text(".connection") == "Live", "the connection")
    # The stream follows its redirect by itself, as far as the policy lets it: it is refused before anything is sent.
    foreign = [url for url in browser.foreign if not url.startswith("http://elsewhere.invalid/")]
    assert not foreign, f"asked elsewhere: {foreign}"
    browser.foreign.clear()


def offers(browser):
    """What is offered in which phase: no way back before reads may be on modern, and no cutover before the rows are there."""
    ask = """async (phase) => {
        const { buttons } = await import("/console/actions.js");
        const one = { phase, owner: "legacy", holds: [], waiting_for: [], switch: null, drift_rows: 0, quarantined: 0 };
        return [...buttons("users", one, { tables: [] }).querySelectorAll("button")].map(({ id }) => id.slice(3));
    }"""
    for phase, there, missing in (("draft", {"begin"}, {"revert", "cutover", "advance"}), ("backfilling", {"hold"}, {"revert", "cutover"}),
                                  ("streaming", {"cutover"}, {"revert", "retire"}), ("shadowing", {"cutover", "revert"}, {"retire"}), ("retired", set(), {"revert", "hold"})):
        offered = set(browser.page.evaluate(ask, phase))
        assert there <= offered and not missing & offered, f"in {phase} is offered: {offered}"


def on_the_card(browser):
    """What the board says of the capability is what the API says."""
    page = browser.page
    ask = "async (token) => (await (await fetch('/api/v1/status', { headers: { authorization: `Bearer ${token}` } })).json()).capabilities.users"
    facts = lambda: dict(zip(page.locator(".card .facts dt").all_inner_texts(), page.locator(".card .facts dd").all_inner_texts()))

    def agree():
        told, shown = page.evaluate(ask, f"{TOKEN}-operator"), facts()
        share = f"{told['serving']['reads'] / 10_000:g} %"
        same = shown.get("Owner of writes") == told["owner"] == "legacy" and shown.get("Reads on modern") == share != "0 %"
        verdicts = [text.split(":")[-1].strip() for text in page.locator(".card .verdict").all_text_contents()]
        waits = [text.replace("`", "") for text in page.locator(".card .waiting li").all_inner_texts()]
        first = told["waiting_for"][0]["text"].replace("`", "")
        return same and shown.get("Drift") == "0 rows" and shown.get("Lag") not in (None, "–") and \
            verdicts == [gate["verdict"] for gate in told["gates"]] != [] and waits[:1] == [first]

    browser.until(agree, "the card to say what the API says")


def foresees(browser):
    """The path ahead is what the API says: every step, in its order, with what it needs; a keyboard reaches the table."""
    page, panel = browser.page, "section[aria-labelledby=panel-ahead]"
    ask = "async (token) => (await (await fetch('/api/v1/plan', { headers: { authorization: `Bearer ${token}` } })).json()).capabilities.find(({ name }) => name === 'users').path"

    def agree():
        path = page.evaluate(ask, f"{TOKEN}-operator")
        rows = [row.locator("th, td").all_inner_texts() for row in page.locator(f"{panel} tbody tr").all()]
        needs = lambda leg: "; ".join(need["text"] for need in leg["needs"]).replace("`", "") or "–"
        told = [(leg["name"], needs(leg), ", ".join(leg["gates"]) or "–") for leg in path["legs"]]
        return len(told) > 3 and [(row[0], row[3], row[4]) for row in rows] == told and rows[0][1] == "now" and \
            ("ends early" if path["ends"] else "may retire in") in page.inner_text(panel)

    browser.until(agree, "the path ahead to be what the API says")
    page.focus(f"{panel} .scroll[role=group][aria-label='Steps ahead']")
    assert page.locator(f"{panel} [aria-current=step]").count() == 1 and page.locator(f"{panel} th[scope=col]").count() == 5


def failing(browser, hand):
    """The service goes while readers are on it: real errors on the curve, the reads go back, and forward again once it is there."""
    page, absent = browser.page, WORLD / "no-service"
    absent.touch()
    errors = page.locator(".chart svg[aria-label^='Errors now:']")
    rate = lambda: float(errors.get_attribute("aria-label").split("modern ")[1].split("/s")[0].replace("–", "0"))
    browser.until(lambda: errors.count() == 1 and rate() > 0, "errors of the new service on the curve")
    browser.picture("errors")
    absent.unlink()
    browser.page.wait_for_selector("#do-release, #do-approve", timeout=120_000)
    browser.until(lambda: page.evaluate(SERVICE_IS_WELL, f"{TOKEN}-operator"), "the service to be well", 120)
    if page.locator("#do-release").count():
        wish(browser, hand, "release", reason="it is there again", hold="")
    browser.phase("ramping", 120)
    page.wait_for_selector("#do-approve", timeout=120_000)
    say("failed, and back")


SERVICE_IS_WELL = """async (token) => {
    const status = await (await fetch("/api/v1/status", { headers: { authorization: `Bearer ${token}` } })).json();
    return status.gateways.every((gateway) => gateway.modern_down.length === 0);
}"""


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


def school(*statements):
    """What the monolith writes."""
    school = sqlite3.connect(WORLD / "school.sqlite3", timeout=20, isolation_level=None)
    for statement in statements:
        assert school.execute(*statement).rowcount == 1, f"{statement} is about nobody"
    school.close()


def service(statement):
    """What somebody does to the service's tables."""
    users = sqlite3.connect(WORLD / "users.sqlite3", timeout=20, isolation_level=None)
    users.execute(statement)
    users.close()


def set_aside(browser, hand):
    """Rows that cannot be applied: shown whole to who may see them, and gone when the cause is."""
    page, panel = browser.page, "section[aria-labelledby=panel-quarantine]"
    browser.sees("No row is set aside.")
    service("CREATE TRIGGER no_zoe BEFORE UPDATE ON users WHEN NEW.given_name = 'Zoe' BEGIN SELECT RAISE(ABORT, 'nobody is called Zoe'); END")
    school(("UPDATE accounts_customuser SET first_name = 'Zoe' WHERE username = 'student231'",),
           ("UPDATE accounts_customuser SET user_type = 9, first_name = ? WHERE username = 'student232'", (HOSTILE,)))
    browser.sees("2 rows could not be applied")
    browser.until(lambda: page.locator(f"{panel} .samples > li").count() == 2, "both rows")
    shown = page.inner_text(panel)
    for words in ("accounts_customuser", "from legacy to modern", "nobody is called Zoe", "user_type", HOSTILE[:18], "What to do", "student231", "student232"):
        assert words in shown, f"{words!r} is not in\n{shown}"
    refused_by_the_service = page.locator(f"{panel} .samples > li", has_text="nobody is called Zoe")
    marks = [mark.inner_text() for mark in refused_by_the_service.locator("tr", has_text="given_name").locator("mark").all()]
    assert marks and marks[0] == "Zoe", f"what differs is not marked: {marks}"
    assert refused_by_the_service.locator("tr", has_text="username").locator("mark").count() == 0, "what is the same is marked"
    without_counterpart = page.locator(f"{panel} .samples > li", has_text="user_type")
    assert without_counterpart.locator("mark").count() == 0, "columns of two tables are compared because they have one name"
    hashes = page.locator(f"{panel} tr", has_text="password").locator("td").all_inner_texts()
    assert len(hashes) == 4 and set(hashes) == {"(not shown)"}, f"somebody's password is shown: {hashes}"
    assert refused_by_the_service.locator("time").get_attribute("datetime").startswith(time.strftime("%Y-", time.gmtime())), "no time"
    assert page.locator("main img").count() == 0, "data became markup"
    browser.in_every_light(f"quarantine-{HAND}")
    # A viewer sees how many there are, and why no more.
    browser.own_requests_may_fail = True
    as_(browser, hand, f"{TOKEN}-viewer")
    browser.sees("this asks for the role operator, and the token `viewer` has the role viewer".replace("`", ""))
    shown = page.inner_text("main")
    assert "2 rows could not be applied" in shown and "nobody is called Zoe" not in shown and "student232" not in page.inner_text(panel), shown
    refused(browser, hand, "hold", "this asks for the role operator")
    as_(browser, hand, f"{TOKEN}-operator")
    browser.own_requests_may_fail = False
    # The causes go; one row is written anew, the other one by a repair.
    service("DROP TRIGGER no_zoe")
    school(("UPDATE accounts_customuser SET user_type = 3 WHERE username = 'student232'",))
    browser.sees("1 row could not be applied")
    browser.until(lambda: page.locator(f"{panel} .samples > li").count() == 1, "one row")
    wish(browser, hand, "repair")
    browser.sees("No row is set aside.")
    say("set aside, and repaired")


def read_as(browser, name, path, seen):
    """Somebody logs in at the school and reads, until it is seen: reads from just behind a write are compared with nothing."""
    page = browser.context.new_page()
    page.goto(f"{PUBLIC}/accounts/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", "ficus-demo-1")
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "/login/" not in url)
    browser.until(lambda: page.goto(f"{PUBLIC}{path}") and seen in browser.page.inner_text("body"), f"{seen!r} on the page")
    page.close()


def differences(browser, hand):
    """Something differs: it is shown as what it is, found by a comparison, and repaired."""
    user = plant()
    read_as(browser, "student40", f"/api/v1/users/{user}/", "first_name")
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
    assert browser.page.locator("button[aria-label='Turn page-size on']").count() == 0, "it is neither on nor off"
    hand.press("button[aria-label='Give everybody large of page-size']")
    hand.write("dialog #field-reason", "incident 8")
    hand.send()
    browser.sees("Overridden: large")
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
    hand.press("#reload")
    assert browser.page.locator("dialog #field-reason[required]").count() == 1
    hand.write("dialog #field-reason", "to have it at once")
    hand.send()
    browser.page.wait_for_selector("dialog", state="detached")
    browser.sees("Nothing is wrong.")
    hand.press("summary >> text=users.toml" if isinstance(hand, Mouse) else "summary")
    hand.press("#nav a[href='#/journal']")
    browser.sees("to have it at once")


def aborted(browser, hand):
    """Somebody writes for long: the switch waits, and is aborted. Who has written for a second already when it is asked for is in its way
    instead: then they begin anew."""
    browser.own_requests_may_fail = True
    for left in reversed(range(40)):
        writer = sqlite3.connect(WORLD / "school.sqlite3", timeout=20, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        try:
            wish(browser, hand, "cutover")
            wish(browser, hand, "abort", reason="somebody writes")
            break
        except AssertionError as late:
            assert left and "has held the write lock" in str(late), late
            browser.page.keyboard.press("Escape")
        finally:
            writer.execute("ROLLBACK")
            writer.close()
        browser.page.wait_for_timeout(2_000)
    browser.own_requests_may_fail = False
    browser.until(lambda: browser.page.locator("#do-abort").count() == 0, "the abort")
    browser.phase("ramping")


def open_capability(browser, hand):
    hand.press("#nav a[href='#/']")
    browser.sees("have left the monolith")
    hand.press("a[href='#/capability/users']")
    browser.page.wait_for_selector("main h1 .phase")
    assert browser.page.evaluate("document.activeElement.tagName") == "H1", "a new page does not get the focus"


def retired(browser, hand):
    """The end, which an operator may not bring about."""
    refused(browser, hand, "retire", "this asks for the role admin")
    browser.own_requests_may_fail = True
    as_(browser, hand, TOKEN)
    browser.own_requests_may_fail = False
    browser.until(lambda: "the soak" not in browser.page.inner_text("section.way"), "the end of the soak")
    wish(browser, hand, "retire", reason="nobody reads the old tables")
    browser.phase("retired")
    browser.sees("nobody reads the old tables")
    browser.until(lambda: browser.page.locator(".actions button").count() == 0, "nothing to be left to do")
    browser.sees("Nothing lies ahead: it is retired.")
    browser.in_every_light(f"capability-retired-{HAND}")
    say(f"retired by {HAND}")


def drawn(browser):
    """The curves show what is measured: requests of the people here now, and errors as the API tells of them."""
    page = browser.page
    requests = page.locator(".chart svg[aria-label^='Requests now:']")
    rate = lambda: float(requests.get_attribute("aria-label").split("legacy ")[1].split("/s")[0])
    browser.until(lambda: requests.count() == 1 and rate() > 0, "requests on the curve")
    before = requests.locator("path.legacy").get_attribute("d")
    browser.until(lambda: requests.locator("path.legacy").get_attribute("d") != before, "the curve to move on")
    side = lambda count, errors: {"requests": count, "errors": errors, "p99_ms": 20}
    points = [{"at": at * 2_000, "seconds": 2, "legacy": side(8, at), "modern": side(4, 0), "shadow": {"same": 4, "different": 1}, "lag_seconds": 0.1} for at in range(5)]
    page.route("**/traffic", lambda route: route.fulfill(json=points))
    errors = page.locator(".chart svg[aria-label='Errors now: legacy 2/s, modern 0/s']")
    browser.until(lambda: errors.count() == 1, "errors on the curve")
    heights = [float(place.split(" ")[1]) for place in errors.locator("path.legacy").get_attribute("d").replace("M", "L").split("L")[1:]]
    assert len(heights) == 5 and heights == sorted(heights, reverse=True) and heights[0] > heights[4] + 50, f"errors that grow are drawn at {heights}"
    # Of nobody's requests there is no latency, whatever was measured before.
    latency = page.locator(".chart svg[aria-label^='Latency p99 now:']")
    assert latency.get_attribute("aria-label") == "Latency p99 now: legacy 20 ms, modern 20 ms", latency.get_attribute("aria-label")
    points.append({**points[-1], "at": 10_000, "modern": {"requests": 0, "errors": 0, "p99_ms": None}})
    browser.until(lambda: latency.get_attribute("aria-label") == "Latency p99 now: legacy 20 ms, modern –", "no latency where nobody asked")
    page.unroute("**/traffic")


def protected(browser):
    """The policy holds in the browser: nothing runs inline, nothing is loaded from elsewhere, text does not become markup."""
    page, complaints = browser.page, len(browser.complaints)
    seen = page.evaluate("""async () => {
        const broken = [];
        document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
        const script = document.createElement("script");
        try { script.textContent = "window.owned = true"; } catch { broken.push("text of a script"); }
        document.body.append(script);
        const image = document.createElement("img");
        image.src = "https://elsewhere.invalid/x.png";
        document.body.append(image);
        const style = document.createElement("style");
        style.textContent = "main { display: none }";
        document.body.append(style);
        try { document.body.insertAdjacentHTML("beforeend", "<b id=markup>x</b>"); } catch { broken.push("markup"); }
        try { await fetch("https://elsewhere.invalid/"); } catch { broken.push("fetch"); }
        await new Promise((done) => setTimeout(done, 300));
        [script, image, style].forEach((one) => one.remove());
        return { broken, owned: window.owned ?? false, markup: !!document.getElementById("markup"), shown: getComputedStyle(document.querySelector("main")).display };
    }""")
    assert not seen["owned"] and not seen["markup"] and seen["shown"] != "none", seen
    for directive in ("img-src", "style-src-elem", "connect-src", "markup"):
        assert directive in seen["broken"], f"{directive} is not refused: {seen}"
    # These complaints are what was wanted.
    del browser.complaints[complaints:]
    browser.foreign = [url for url in browser.foreign if "elsewhere.invalid" not in url]


def moved_little(browser):
    """Who asks for less motion gets none."""
    moving = "[...document.querySelectorAll('*')].filter((one) => parseFloat(getComputedStyle(one).transitionDuration) || getComputedStyle(one).animationName !== 'none').length"
    assert browser.page.evaluate(moving) > 0, "nothing moves at all: the test looks at nothing"
    browser.page.emulate_media(reduced_motion="reduce")
    assert browser.page.evaluate(moving) == 0, "something moves where no motion is wished"
    browser.page.emulate_media(reduced_motion="no-preference")


def told(browser):
    """What a screen reader is told: landmarks, headings, names of lists, tables and figures, and where things are said aloud."""
    page = browser.page
    browser.page.wait_for_selector("#panel-journal")
    tree = page.locator("body").aria_snapshot()
    for line in ("- banner:", '- navigation "Pages":', '- link "Capabilities"', "- main:", '- heading "users draft" [level=1]', '- group "Actions":', '- button "Begin"',
                 '- region "Way":', '- list "Way":', '- region "Gates":', '- region "Ahead":', '- group "Steps ahead":', '- region "Quarantine":', '- region "Journal":', '- heading "Routes" [level=2]', "- columnheader \"On modern\"", "- contentinfo"):
        assert line in tree, f"{line} is not what a screen reader is told:\n{tree}"
    assert page.get_attribute("html", "lang") == "en"
    assert page.get_attribute("#said", "aria-live") == "polite" and page.get_attribute("#said", "role") == "status"
    page.keyboard.press("Tab")


def short_soak():
    rules = WORLD / "rules/users.toml"
    rules.write_text(rules.read_text().replace('soak = "7d"', 'soak = "2s"'))


def shadowing(browser, hand):
    """Begun, and held while it shadows."""
    wish(browser, hand, "begin")
    browser.phase("shadowing")
    wish(browser, hand, "hold", reason="exam week")
    browser.sees("Held: exam week")


def advanced(browser, hand):
    """The rest of a step's hold is skipped."""
    before = browser.page.inner_text("ol.steps li.here")
    browser.page.wait_for_selector("#do-advance")
    if browser.page.locator("#do-approve").count():
        return
    browser.own_requests_may_fail = True
    try:
        wish(browser, hand, "advance", reason="nobody is here at this hour")
        browser.sees("nobody is here at this hour")
    except AssertionError as late:
        # The steps last for seconds: on a slow machine the last one has begun by itself meanwhile.
        assert "waits for approval" in str(late), late
        browser.page.keyboard.press("Escape")
    browser.own_requests_may_fail = False
    browser.until(lambda: browser.page.inner_text("ol.steps li.here") != before, "the next step")


def by_mouse(browser, hand):
    short_soak()
    browser.in_every_light("board-draft")
    open_capability(browser, hand)
    offered = set()
    cancelled(browser, offered)
    browser.phase("draft")
    foresees(browser)
    listened(browser)
    shadowing(browser, hand)
    heard(browser, "users: begin is under way")
    heard(browser, "users: backfilling")
    cancelled(browser, offered)
    wish(browser, hand, "release", reason="the marks are in", hold="")
    browser.sees("the marks are in")
    browser.phase("ramping")
    say("ramping")
    advanced(browser, hand)
    browser.page.wait_for_selector("#do-approve", timeout=120_000)
    cancelled(browser, offered)
    assert {f"do-{action}" for action in ("begin", "advance", "approve", "cutover", "revert", "hold", "release", "pin", "verify")} <= offered, offered
    browser.in_every_light("capability-ramping")
    hand.press("#nav a[href='#/']")
    browser.sees("Reads on modern")
    on_the_card(browser)
    browser.in_every_light("board-ramping")
    open_capability(browser, hand)
    aborted(browser, hand)
    say("aborted")
    # What was held is released, and nothing begins that nobody approved.
    browser.page.wait_for_selector("#do-release")
    wish(browser, hand, "release", reason="the writer has gone", hold="")
    browser.until(lambda: browser.page.locator("#do-release").count() == 0, "the release")
    browser.page.wait_for_selector("#do-approve")
    browser.phase("ramping")
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
    wish(browser, hand, "cutover", reason="it is fast again")
    browser.phase("soaking")
    retired(browser, hand)


def flags():
    (WORLD / "rules/flags.toml").write_text('[flag.new-profile]\ndescription = "The new page"\ndefault = true\n'
                                          '[flag.page-size]\ndescription = "Rows of a page"\nvariants = { small = 20, large = 100 }\ndefault = "small"\n')


def every_page(browser, hand):
    flags()
    open_capability(browser, hand)
    shadowing(browser, hand)
    live(browser, ADMIN, f"{TOKEN}-operator")
    set_aside(browser, hand)
    drawn(browser)
    protected(browser)
    differences(browser, hand)
    overrides(browser, hand)
    asked(browser, hand)
    broken_rules(browser, hand)
    browser.in_every_light("journal")


def every_action(browser, hand):
    """What the life by keyboard leaves out: verify, flag, unpin, reload, advance, abort."""
    flags()
    open_capability(browser, hand)
    shadowing(browser, hand)
    wish(browser, hand, "verify")
    overrides(browser, hand)
    broken_rules(browser, hand)
    open_capability(browser, hand)
    wish(browser, hand, "release", reason="the marks are in", hold="")
    browser.phase("ramping")
    advanced(browser, hand)
    page = browser.page
    page.wait_for_selector("#do-approve", timeout=120_000)
    aborted(browser, hand)


def on_a_phone(browser, hand):
    moved_little(browser)
    by_finger(browser)
    addresses(browser)
    another_leads(browser)
    offers(browser)


def during_the_ramp(browser, hand):
    open_capability(browser, hand)
    wish(browser, hand, "begin")
    browser.page.wait_for_selector("#do-approve", timeout=120_000)
    browser.phase("ramping")
    failing(browser, hand)


def by_keyboard(browser, hand):
    # The link that skips the navigation is the first thing on the page.
    browser.page.evaluate("document.activeElement.blur()")
    hand.press("#skip")
    assert browser.page.evaluate("document.activeElement.id") == "page", "the link skips to nowhere"
    short_soak()
    open_capability(browser, hand)
    told(browser)
    shadowing(browser, hand)
    set_aside(browser, hand)
    asked(browser, hand)
    open_capability(browser, hand)
    wish(browser, hand, "pin", side="legacy", user="7", lasts="900")
    wish(browser, hand, "release")
    browser.phase("ramping")
    say("ramping by keyboard")
    browser.page.wait_for_selector("#do-approve", timeout=120_000)
    wish(browser, hand, "approve")
    browser.phase("soaking")
    browser.in_every_light("capability-soaking-keyboard")
    wish(browser, hand, "revert")
    browser.phase("reverted")
    say("reverted by keyboard")
    wish(browser, hand, "cutover")
    browser.phase("soaking")
    retired(browser, hand)
    hand.press("#leave")
    browser.page.wait_for_selector("#token")


def main():
    browser = Browser(ADMIN, WORLD / "pictures")
    try:
        walk = {"mouse": by_mouse, "keyboard": by_keyboard, "pages": every_page, "phone": on_a_phone, "dialogs": every_dialog, "keys": every_action, "failing": during_the_ramp}[HAND]
        hand = (Keyboard if HAND in ("keyboard", "keys") else Mouse)(browser)
        log_in(browser, hand)
        walk(browser, hand)
        assert not browser.complaints, f"the browser complains: {browser.complaints}"
        assert not browser.foreign, f"requests to others: {browser.foreign}"
    finally:
        browser.close()


main()
