"""The page is told by the stream of events: it asks for nothing by the clock, nothing moves without the stream, and it connects again by itself."""

import http.client
import json
import time
import urllib.parse
import urllib.request

#: Longer than anything in the page takes its time for, but for the path ahead.
STILL = 6

#: Lets the test cut the stream that is open, and keep others from being opened.
SEVERABLE = """(() => {
    const plain = window.fetch;
    window.streams = [];
    window.fetch = (path, options = {}) => {
        if (!String(path).includes("/api/v1/events")) return plain(path, options);
        if (window.severed) return Promise.reject(new TypeError("severed"));
        const end = new AbortController();
        options.signal.addEventListener("abort", () => end.abort());
        window.streams.push(end);
        return plain(path, { ...options, signal: end.signal });
    };
})()"""


class Api:
    """What somebody else does meanwhile."""

    def __init__(self, admin, token):
        self.admin, self.token = admin, token

    def ask(self, path, **body):
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.admin}/api/v1{path}", headers=headers, data=json.dumps(body).encode() if body else None)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def held(self, reason):
        self.ask("/capabilities/users/hold", by="a colleague", reason=reason)

    def released(self, hold):
        self.ask("/capabilities/users/release", by="a colleague", reason="done", hold=hold)

    def messages(self, path, seconds):
        """What the stream sends in so many seconds: the kind and the data of each message."""
        address = urllib.parse.urlsplit(self.admin)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=seconds + 10)
        connection.request("GET", f"/api/v1{path}", headers={"authorization": f"Bearer {self.token}"})
        answer, sent, kind, until = connection.getresponse(), [], None, time.monotonic() + seconds
        # A comment comes every five seconds at least: the loop ends.
        while time.monotonic() < until:
            name, _, value = answer.readline().decode().strip().partition(":")
            kind = value.strip() if name == "event" else kind
            if name == "data":
                sent.append((kind, json.loads(value)))
        connection.close()
        return sent


def live(browser, admin, token):
    """On the page of a capability that is held while it shadows."""
    page, api = browser.page, Api(admin, token)
    told_of_changes(api)
    page.add_init_script(SEVERABLE)
    page.reload()
    asked = []
    page.on("request", lambda request: "/api/v1/" in request.url and asked.append(request.url.split("/api/v1")[1]))
    asks_nothing_by_the_clock(browser, api, asked)
    nothing_moves_without_the_stream(browser, api, asked)


def told_of_changes(api):
    """`changed` is sent when there is a change, and at no other time; of curves only to who looks at them."""
    for _ in range(5):
        before = api.ask("/journal/head")
        sent = [data for kind, data in api.messages("/events", STILL) if kind == "changed"]
        if api.ask("/journal/head") == before:
            break
    assert len(sent) == 1 and sent[0]["traffic"] is None, f"nothing has changed, and it is said to: {sent}"
    points = [data["traffic"] for kind, data in api.messages("/events?capability=users", STILL) if kind == "changed"]
    assert 2 <= len(points) <= 5 and points == sorted(set(points)), f"the curves move every two seconds: {points}"


def asks_nothing_by_the_clock(browser, api, asked):
    page = browser.page
    page.evaluate("location.hash = '#/journal'")
    browser.sees("newest first")
    browser.until(lambda: page.locator(".journal li").count() > 0, "the journal")
    for _ in range(5):
        before = api.ask("/journal/head")
        asked.clear()
        page.wait_for_timeout(STILL * 1000)
        if api.ask("/journal/head") == before:
            break
    assert not asked, f"nothing has changed, and the page asks for {asked}"
    api.held("told at once")
    browser.sees("told at once", 5)
    assert set(asked) == {"/journal?limit=100"} and len(asked) <= 2, f"one change, and the page asks for {asked}"
    api.released("told at once")


def nothing_moves_without_the_stream(browser, api, asked):
    page = browser.page
    page.evaluate("location.hash = '#/capability/users'")
    requests = page.locator(".chart svg[aria-label^='Requests now:'] path.legacy")
    browser.until(lambda: requests.count() == 1, "curves")
    drawn = requests.get_attribute("d")
    browser.until(lambda: requests.get_attribute("d") != drawn, "the curves to move with the stream", 10)
    page.evaluate("() => { window.severed = true; window.streams.forEach((stream) => stream.abort()); }")
    browser.sees("Not connected")
    asked.clear()
    seen = page.inner_text("main"), requests.get_attribute("d")
    api.held("nobody is told")
    page.wait_for_timeout(STILL * 1000)
    assert (page.inner_text("main"), requests.get_attribute("d")) == seen, "something moves without the stream"
    assert not asked, f"without the stream the page asks for {asked}"
    page.evaluate("window.severed = false")
    browser.sees("nobody is told", 20)
    browser.until(lambda: page.inner_text(".connection") == "Live" and requests.get_attribute("d") != seen[1], "all to go on")
    api.released("nobody is told")
    browser.until(lambda: "Held: exam week" in page.inner_text("main") and "nobody is told;" not in page.inner_text("main"), "the release to be told")
