//! What strangers, the monolith and operators hand us, read by parsers of our own: none panics, and each keeps what it promises,
//! whatever the input. Longer runs: `make fuzz`.

use std::time::Duration;

use ficus_rules::Timestamp;
use ficus_rules::access::redacted;
use ficus_rules::hours::Hours;
use ficus_rules::identity::django::{self, Secrets};
use ficus_rules::identity::signing::{Age, SigningError};
use ficus_rules::identity::{csrf, flask, itsdangerous, signing};
use ficus_rules::marker::{self, Marker};
use ficus_rules::network::Network;
use ficus_rules::parity::{Answer, Leniency, Noise, compare};
use ficus_rules::path::{normalise, spelled};
use ficus_rules::route::{Pattern, PlainRequest};
use ficus_rules::spec::{Known, load};
use ficus_rules::wire::RuleFile;

use crate::mutator::fuzz;

const NOW: Timestamp = Timestamp(1_760_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn secrets() -> Secrets {
    Secrets { keys: vec!["the key".to_owned(), "an older key".to_owned()] }
}

/// Most targets take text.
fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

#[test]
fn paths_are_normal_once_and_for_all() {
    let corpus: [&[u8]; 6] = [b"/", b"/a/b/", b"//a/./b/../c", b"/a%2fb", b"/%7euser/%C3%A9", b"/a;b=c/%2e%2e/d"];
    let dictionary: [&[u8]; 9] = [b"%2e", b"%2F", b"%5c", b"%00", b"..", b"//", b"%25", b"%", b"\xc3\xa9"];
    fuzz("path", &corpus, &dictionary, |input| {
        let text = text(input);
        let Ok(normal) = normalise(&text) else { return (0, normalise(&text).err()) };
        assert_eq!(normalise(&normal).as_ref(), Ok(&normal), "normal is normal");
        assert!(normal.starts_with('/') && normal.is_ascii() && !normal.contains("//"));
        assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
        let spelled = spelled(&text).expect("what can be normalised can be spelled");
        assert_eq!(normalise(&spelled).as_ref(), Ok(&normal), "a spelling stands for the same path");
        (1 + normal.split('/').count().min(6), None)
    });
}

#[test]
fn patterns_match_what_they_are_made_of() {
    let corpus: [&[u8]; 6] =
        [b"/a/{id}/b", b"/{*rest}", b"/courses/{id:[0-9]+}/", b"/files/{*file:.+\\.(pdf|docx)}", b"/a/{x:(a|b)*c}", b"/{a}/{b}/{*c}"];
    let dictionary: [&[u8]; 10] = [b"{", b"}", b"{*", b":", b"[^/]", b"(?i)", b"\\d{1,300}", b"(a*)*", b"/", b"|"];
    fuzz("pattern", &corpus, &dictionary, |input| match Pattern::parse(&text(input)) {
        Ok(pattern) => {
            assert_eq!(pattern.kinds().len(), pattern.segments().len());
            assert!(pattern.names().count() <= pattern.segments().len());
            assert!(pattern.relation(&pattern).covers, "a pattern covers itself");
            pattern.kinds().into_iter().take(6).collect()
        }
        Err(why) => why.bytes().take(24).collect::<Vec<u8>>(),
    });
}

#[test]
fn requests_are_read_or_refused() {
    let corpus: [&[u8]; 4] = [b"/a?b=c&d=%20#e", b"/a b", b"*", b"http://a.test/x?y"];
    fuzz("request", &corpus, &[b"?", b"#", b"&", b"=", b"%", b"cookie"], |input| {
        let text = text(input);
        let request = PlainRequest::new("GET", &text).map(|request| request.with_host(&text).with_header("Cookie", &text));
        let shown = redacted(text.split_once('?').map_or(&text, |(_, query)| query));
        for pair in shown.split('&').filter(|pair| !pair.is_empty()) {
            let value = pair.split_once('=').map_or("*", |(_, value)| value);
            assert!(value == "*" || value.is_empty(), "`{shown}` shows a value");
        }
        request.is_ok()
    });
}

#[test]
fn rule_files_are_served_or_refused_with_a_place() {
    let users = include_bytes!("../../examples/student-management/users.toml");
    let flags = include_bytes!("../../examples/student-management/flags.toml");
    let small =
        b"[capability]\nname = \"users\"\nlegacy = \"a\"\nmodern = \"b\"\n[[route]]\npath = \"/a/{*r}\"\n[[step]]\ncutover = true\n";
    let dictionary: [&[u8]; 16] = [
        b"[[route]]\n",
        b"[gate.errors]\n",
        b"[flag.x]\n",
        b"= \"",
        b"= {",
        b"= [",
        b"= true\n",
        b"= 99999999999999999999\n",
        b"\"5%\"",
        b"\"99999999999999999999d\"",
        b"pin = \"legacy\"\n",
        b"dry_run = true\n",
        b"{rest}",
        b"[[table]]\n",
        b"[return]\n",
        b"\n",
    ];
    let known = Known { upstreams: vec!["monolith".to_owned(), "users-service".to_owned()], ..Known::default() };
    for (name, corpus) in [("users.toml", [&users[..], small]), ("flags.toml", [&flags[..], b"[flag.a]\ndefault = true\n"])] {
        fuzz(name, &corpus, &dictionary, |input| {
            let text = text(input);
            let lines = text.split('\n').count();
            let files = [RuleFile { name: name.to_owned(), text }];
            match load(&files, &known) {
                Ok(checked) => vec![format!("{}", checked.warnings.len().min(3))],
                Err(complaints) => {
                    assert!(complaints.iter().any(|complaint| !complaint.warning), "refused without an error");
                    let placed = |c: &ficus_rules::spec::Complaint| (1..=lines).contains(&c.line) && c.column >= 1 && !c.message.is_empty();
                    assert!(complaints.iter().all(placed), "a complaint has no place: {complaints:?}");
                    complaints.iter().take(1).map(|complaint| complaint.message.chars().take(12).collect()).collect()
                }
            }
        });
    }
}

#[test]
fn sessions_are_genuine_or_nobodys() {
    let data = br#"{"_auth_user_id":"7","_auth_user_hash":"abc","_auth_user_backend":"django.contrib.auth.backends.ModelBackend"}"#;
    let genuine = signing::dumps(data, django::COOKIE_SESSION_SALT, &secrets(), NOW);
    let read = |cookie: &str| django::read_cookie_session(cookie, &secrets(), DAY, NOW);
    assert!(read(&genuine).is_ok());
    fuzz("django cookie", &[genuine.as_bytes(), b".eJw:1:x", b"::"], &[b":", b".", b"=", b"-"], |input| {
        let cookie = text(input);
        let session = read(&cookie);
        // Base64 has spellings for the same bits: the signature alone must be the one.
        assert!(session.is_err() || cookie.rsplit_once(':').map(|(body, _)| body) == genuine.rsplit_once(':').map(|(body, _)| body));
        session.map(drop).map_err(|why| why.to_string())
    });
    let pickle = b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94K\x01u.";
    let zipped = b".x\x9c\x03\0\0\0\0\x01";
    let corpus: [&[u8]; 6] = [data, b"{\"_auth_user_id\":7}", pickle, b"[]", zipped, b"\x81\xa1a\x01"];
    let dictionary: [&[u8]; 8] =
        [b"\x80\x04", b"cos\nsystem\n", b"{\"", b"\" b\":", b"\" u\":", b"\" d\":", b"null", b"\xdf\xff\xff\xff\xff"];
    // Signed by a monolith that writes anything at all.
    fuzz("django payload", &corpus, &dictionary, |input| {
        let token = signing::dumps(input, django::SESSION_SALT, &secrets(), NOW);
        django::read_session(&token, &secrets()).map(|session| session.user.is_some()).map_err(|why| why.to_string())
    });
    fuzz("flask payload", &corpus, &dictionary, |input| {
        let token = itsdangerous::dumps(input, flask::SESSION, &secrets(), NOW);
        flask::read_cookie(&token, &secrets(), DAY, NOW).map(|session| session.text("_user_id").is_some()).map_err(|why| why.to_string())
    });
    fuzz("flask stored", &corpus, &dictionary, |input| {
        let read = flask::read_stored(input);
        assert!(!input.starts_with(&[0x80, 0x04]) || read == Err(flask::SessionError::Pickle), "a pickle is {read:?}");
        read.map(|session| session.text("_user_id").is_some()).map_err(|why| why.to_string())
    });
}

#[test]
fn signed_values_cannot_be_made_up() {
    let token = itsdangerous::dumps(b"payload", flask::SESSION, &secrets(), NOW);
    let age = Age { max: DAY, now: NOW };
    fuzz("itsdangerous", &[token.as_bytes(), b"a.b.c", b".a..b"], &[b".", b"-", b"_", b"="], |input| {
        let read = itsdangerous::loads(&text(input), flask::SESSION, &secrets(), age);
        assert!(read.as_ref().map_or(true, |payload| payload == b"payload"), "{read:?}");
        read.map(drop).map_err(|why: SigningError| why.to_string())
    });
    let marker = Marker { capability: "users".to_owned(), epoch: 3, at: NOW };
    let sealed = marker::seal(std::slice::from_ref(&marker), b"key");
    fuzz("marker", &[sealed.as_bytes(), b"users.3.1"], &[b".", b"~", b"users", b"3"], |input| {
        let opened = marker::open(&text(input), b"key", NOW);
        assert!(opened.iter().all(|opened| *opened == marker), "{opened:?}");
        opened.len()
    });
}

#[test]
fn what_is_compared_is_its_own_equal() {
    let page = b"<!doctype html><html><body><form><input type=hidden name=csrfmiddlewaretoken value=x></form><p>a<b>c</p></body></html>";
    let corpus: [&[u8]; 4] = [page, br#"{"a": [1, 2.0, {"b": null}]}"#, b"plain", b"<!--x--><svg><![CDATA[<a>]]></svg>"];
    let dictionary: [&[u8]; 8] = [b"<", b"</p>", b"&amp;", b"&#x0;", b"\"", b"1e400", b"{\"a\":", b"<script>"];
    fuzz("parity", &corpus, &dictionary, |input| {
        let answer =
            |kind: &str, body: &[u8]| Answer { status: 200, content_type: kind.to_owned(), body: body.to_vec(), ..Answer::default() };
        let lenient = Leniency { pages: true, ..Leniency::default() };
        let against = |kind: &str, other: &[u8]| {
            let differences = compare("GET", &answer(kind, input), &answer(kind, other), &lenient, &Noise::default());
            let back = compare("GET", &answer(kind, other), &answer(kind, input), &lenient, &Noise::default());
            assert_eq!(differences.is_empty(), back.is_empty(), "{kind}: it differs in one direction");
            differences.len()
        };
        if serde_json::from_slice::<serde_json::Value>(input).is_ok() {
            assert_eq!(against("application/json", &[b" ", input, b"\n"].concat()), 0, "white space round JSON");
        }
        (against("text/html; charset=utf-8", page).min(5), against("application/json", br#"{"a": [1, 2.0]}"#).min(5))
    });
}

#[test]
fn small_words_are_read_or_refused() {
    let corpus: [&[u8]; 6] =
        [b"10.0.0.0/8", b"::1/128", b"mon-fri 02:00-04:00 Europe/Berlin", b"*", b"https://a.test", b"weekdays 1:00-2:00 UTC"];
    fuzz("words", &corpus, &[b"/", b":", b"-", b"::ffff:", b"/129", b"24:00", b"sat,sun"], |input| {
        let text = text(input);
        let network = text.parse::<Network>().map(|network| network.contains([10, 0, 0, 1].into()));
        let hours = Hours::parse(&text).map(|hours| hours.contain(NOW));
        let evidence = csrf::Evidence {
            scheme: "https",
            host: &text,
            cookie: Some(&text),
            token: Some(&text),
            origin: Some(&text),
            referer: Some(&text),
        };
        let genuine = csrf::check(&evidence, std::slice::from_ref(&text));
        (network.is_ok(), hours.is_ok(), genuine.err())
    });
}
