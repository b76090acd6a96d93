//! Random callers and random requests, out of a seed.

use std::collections::BTreeMap;

use ficus_tests::http::Answer;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// The rules that the requests go through: two capabilities that narrow, rewrite, pin, flag and count in many ways.
pub(super) const RULES: [(&str, &str); 3] = [
    (
        "users.toml",
        r#"
[capability]
name = "users"
legacy = "monolith"
modern = "users-service"
[[route]]
path = "/users/{*rest}"
modern_path = "/people/{rest}"
[[route]]
path = "/users/{id}/photo/"
modern_path = "/photos/{id}"
csrf = false
[[route]]
path = "/users/{id}/notes/"
methods = ["POST", "PUT", "DELETE"]
pin = "legacy"
writes_tables = true
[[route]]
path = "/users/{id}/preview/"
flag = "preview"
[[route]]
path = "/users/{id}/share/"
flag = "share"
csrf = false
[[route]]
path = "/users/search"
query = { by = "name" }
pin = "legacy"
[[route]]
path = "/users/search"
query = { by = { prefix = "e mail" } }
modern_path = "/search"
[[route]]
path = "/login/"
pin = "legacy"
[[route]]
path = "/beta/{*rest}"
headers = { x_internal = { absent = true } }
csrf = false
[[route]]
path = "/beta/{*rest}"
headers = { x_internal = { present = true } }
pin = "legacy"
[[step]]
shadow = "50%"
hold = "1h"
[[step]]
reads = "10%"
hold = "1h"
[[step]]
reads = "60%"
hold = "1h"
[[step]]
reads = "100%"
hold = "1h"
[[step]]
cutover = true
[[step]]
soak = "7d"
"#,
    ),
    (
        "courses.toml",
        r#"
[capability]
name = "courses"
legacy = "annex"
modern = "courses-service"
[[route]]
path = "/courses/{*rest}"
host = ["school.test", "[::1]"]
csrf = false
[[route]]
path = "/courses/{*rest}"
headers = { x-tenant = "north" }
modern_path = "/north/{rest}"
csrf = false
[[route]]
path = "/courses/{*rest}"
headers = { x-tenant = { prefix = "so" }, host = { present = true } }
methods = ["GET", "HEAD", "OPTIONS"]
flag = "preview"
[[route]]
path = "/courses/{name}"
query = { draft = { present = true } }
modern_path = "/drafts/{name}/"
pin = "modern"
csrf = false
[cohort]
by = ["header:x-device", "cookie:device", "user", "anonymous"]
[[step]]
reads = "40%"
hold = "1h"
[[step]]
cutover = true
[[step]]
soak = "7d"
"#,
    ),
    (
        "flags.toml",
        r#"
[flag.preview]
users_on = [3, 4]
users_off = [5]
headers_on = { x-preview = "yes", x_preview = "yes" }
cookies_on = { preview = "1" }
[flag.share]
percentage = "50%"
default = true
"#,
    ),
];

/// Somebody with a browser that keeps cookies.
pub(super) struct Persona {
    /// The user that it is logged in as.
    pub(super) user: Option<u32>,
    cookies: BTreeMap<String, String>,
    /// It also writes. A caller that did reads from the owner for a while, so that most do not.
    writes: bool,
}

impl Persona {
    /// Logged in as a user.
    pub(super) fn known(user: u32, session: String) -> Persona {
        Persona { user: Some(user), cookies: [("sessionid".to_owned(), session)].into(), writes: user.is_multiple_of(2) }
    }

    /// Nobody, perhaps with a session that nobody signed.
    pub(super) fn stranger(dice: &mut StdRng) -> Persona {
        let forged = dice.random_bool(0.4).then(|| ("sessionid".to_owned(), format!("forged{}", dice.random::<u64>())));
        Persona { user: None, cookies: forged.into_iter().collect(), writes: dice.random_bool(0.4) }
    }

    /// Keeps the cookies of an answer.
    pub(super) fn take(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok()) {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
            self.cookies.extend(pair.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
}

/// A request as it is sent and asked about.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) host: &'static str,
    /// Without those of the persona's cookies that the answer brings.
    headers: Vec<(&'static str, String)>,
    token: bool,
}

/// A source of requests.
pub(super) struct Dice(pub(super) StdRng);

impl Dice {
    pub(super) fn of(seed: u64) -> Dice {
        Dice(StdRng::seed_from_u64(seed))
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of.choose(&mut self.0).copied().unwrap_or_default()
    }

    fn chance(&mut self, of: f64) -> bool {
        self.0.random_bool(of)
    }

    /// A request of a persona.
    pub(super) fn asking(&mut self, persona: &Persona) -> Asking {
        let write = persona.writes && self.chance(0.6);
        let method = match write {
            true => self.one(&["POST", "PUT", "PATCH", "DELETE"]),
            false => self.one(&["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "HEAD", "OPTIONS", "OPTIONS", "TRACE"]),
        };
        let (path, query) = (self.path(), self.query());
        let mut headers = Vec::new();
        for (name, values, chance) in [
            ("x-tenant", &["north", "south", "some", "North", ""][..], 0.6),
            ("x-device", &["a", "b", "c", "d", "e", "f"], 0.2),
            ("x-preview", &["yes", "no"], 0.15),
            ("x_preview", &["yes"], 0.1),
            ("x_internal", &["1"], 0.3),
            ("x-ficus-side", &["modern", "legacy"], 0.1),
            ("x-tenant", &["north"], 0.1),
            ("cookie", &["device=1", "device=2; preview=1", "preview=10; device = 3", "lone; ;device=4"], 0.3),
            ("cookie", &["device=9", "preview=1", "a=b"], 0.1),
        ] {
            if self.chance(chance) {
                headers.push((name, self.one(values).to_owned()));
            }
        }
        let host = self.one(&["school.test", "SCHOOL.test:8080", "annex.test", "annex.test:80", "[::1]:8080", "[::1]"]);
        Asking { method, target: format!("{path}{query}"), host, headers, token: self.chance(0.5) }
    }

    fn path(&mut self) -> String {
        let id = self.0.random_range(1..40);
        let path = self.one(&[
            "/users/ID/",
            "/users/ID/",
            "/users/ID/",
            "/users/ID",
            "/users/",
            "/users",
            "/users/ID/photo/",
            "/users/ID/photo",
            "/users/ID/notes/",
            "/users/ID/notes/",
            "/users/ID/preview/",
            "/users/ID/preview/",
            "/users/ID/share/",
            "/users/ID/share/",
            "/users/search",
            "/users/search",
            "/login/",
            "/beta/ID",
            "/courses/ID",
            "/courses/ID",
            "/courses/ID/",
            "/courses/a/b/c",
            "//users/./x/../ID/",
            "/%75sers/%49D/photo/",
            "/users/a%20b/photo/",
            "/users/%c3%a4/photo/",
            "/users/%7bid%7d/photo/",
            "/users//ID//share/",
            "/courses/%41%2d;v=1",
            "/users%2FID/",
            "/users/%zz/",
            "/../users/ID/",
            "/users/..",
            "/Users/ID/",
            "/",
            "/no/such/page/",
        ]);
        path.replace("ID", &id.to_string())
    }

    fn query(&mut self) -> &'static str {
        match self.chance(0.5) {
            true => "",
            false => {
                self.one(&["?by=name", "?by=e+mail", "?by=e%20mails&by=name", "?b%79=name", "?draft", "?draft=&x=1", "?x=/users/?y", "?"])
            }
        }
    }
}

impl Asking {
    /// The headers of the request, with the persona's cookies.
    pub(super) fn headers(&self, persona: &Persona) -> Vec<(&'static str, String)> {
        let mut headers = self.headers.clone();
        let mut cookies: Vec<String> = persona.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if self.token {
            headers.push(("x-csrftoken", TOKEN.to_owned()));
            cookies.push(format!("csrftoken={TOKEN}"));
        }
        if !cookies.is_empty() {
            headers.push(("cookie", cookies.join("; ")));
        }
        headers
    }

    /// Whether it can be meant, for who answers writes of the new service.
    pub(super) fn has_token(&self) -> bool {
        self.token
    }

    /// What `ficus` is asked.
    pub(super) fn command(&self, persona: &Persona, headers: &[(&'static str, String)]) -> Vec<String> {
        let words = ["explain", self.method, &self.target, "--json", "--host", self.host];
        let mut words: Vec<String> = words.into_iter().map(ToOwned::to_owned).collect();
        for (name, value) in headers {
            words.extend(["--header".to_owned(), format!("{name}: {value}")]);
        }
        words.extend(persona.user.into_iter().flat_map(|user| ["--user".to_owned(), user.to_string()]));
        words.extend(persona.cookies.get("ficus_anon").into_iter().flat_map(|id| ["--anonymous".to_owned(), id.clone()]));
        words
    }
}

/// As Django makes them.
const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz012345";
