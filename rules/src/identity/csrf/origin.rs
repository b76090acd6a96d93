//! Where a request comes from: the headers `Origin` and `Referer` against the host and the trusted origins.

/// Whether an `Origin` is the site itself, or trusted: exactly, or as a subdomain with the same scheme.
pub(super) fn is_trusted(origin: &str, scheme: &str, host: &str, trusted: &[String]) -> bool {
    if origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) == Some(host) {
        return true;
    }
    let exact = trusted.iter().any(|trusted| !trusted.contains('*') && trusted == origin);
    let wide = || {
        let (scheme, host) = split(origin)?;
        let wildcards = trusted.iter().filter(|trusted| trusted.contains('*')).filter_map(|trusted| split(trusted));
        Some(wildcards.into_iter().any(|(s, pattern)| s == scheme && is_same_domain(host, pattern.trim_start_matches('*'))))
    };
    exact || wide().unwrap_or(false)
}

/// A secure request without `Origin` needs a secure `Referer` from the same host, or a trusted one.
pub(super) fn check_referer(referer: Option<&str>, host: &str, trusted: &[String]) -> Result<(), &'static str> {
    let referer = referer.ok_or("a secure request needs an origin or a referer")?;
    let (scheme, from) = split(referer).ok_or("the referer is not a URL")?;
    if scheme != "https" {
        return Err("the referer is not secure while the request is");
    }
    let mut trusted = trusted.iter().filter_map(|trusted| split(trusted)).map(|(_, host)| host.trim_start_matches('*'));
    if is_same_domain(from, host) || trusted.any(|pattern| is_same_domain(from, pattern)) {
        return Ok(());
    }
    Err("the referer is neither this site nor trusted")
}

/// Scheme in lower case, and host with port, of a URL that has both.
fn split(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    let fine =
        scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    fine.then(|| (scheme.to_ascii_lowercase(), host))
}

/// A pattern that begins with a dot stands for the domain and all below it (django/utils/http.py, `is_same_domain`).
fn is_same_domain(host: &str, pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix('.') {
        Some(domain) => host == domain || host.ends_with(&pattern),
        None => !pattern.is_empty() && host == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::{check_referer, is_trusted};

    fn trusted() -> Vec<String> {
        ["https://app.test", "https://*.school.test", "http://*.plain.test:8000"].map(str::to_owned).into()
    }

    #[test]
    fn an_origin_is_the_site_or_trusted() {
        for (origin, fine) in [
            ("https://here.test:8443", true),
            ("http://here.test:8443", false),
            ("https://here.test", false),
            ("https://app.test", true),
            ("https://app.test.evil.test", false),
            ("https://x.app.test", false),
            ("https://a.b.school.test", true),
            ("https://school.test", true),
            ("http://a.school.test", false),
            ("https://evilschool.test", false),
            ("http://x.plain.test:8000", true),
            ("http://x.plain.test", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(is_trusted(origin, "https", "here.test:8443", &trusted()), fine, "{origin}");
        }
    }

    #[test]
    fn a_referer_is_secure_and_from_here() {
        for (referer, fine) in [
            (Some("https://here.test/page?q=1"), true),
            (Some("https://here.test"), true),
            (Some("https://x.school.test/"), true),
            (Some("https://app.test/"), true),
            (Some("http://here.test/page"), false),
            (Some("https://evil.test/?https://here.test/"), false),
            (Some("https://here.test.evil.test/"), false),
            (Some("https://here.test@evil.test/"), false),
            (Some("https:///page"), false),
            (Some("//here.test/"), false),
            (Some("garbage"), false),
            (None, false),
        ] {
            assert_eq!(check_referer(referer, "here.test", &trusted()).is_ok(), fine, "{referer:?}");
        }
    }
}
