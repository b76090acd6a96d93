//! Plugins that change what a server behind sees, and what the client gets.

use super::serve;
use super::support::{World, full, ramping, soaking};

#[tokio::test]
async fn headers_are_set_added_filled_in_renamed_and_taken_out() {
    let world = World::start().await;
    let rules = "[[route]]\npath = \"/a/{*rest}\"\n\
                 [route.plugins.request_headers]\nremove = [\"X-Debug\"]\nrename = { x-old = \"x-new\" }\nset = { x-tenant = \"north\" }\nadd = { x-tag = \"b\" }\ndefault = { x-lang = \"de\" }\n\
                 [route.plugins.response_headers]\nremove = [\"x-powered-by\"]\nset = { x-served-by = \"school\" }\n";
    serve(&world, rules, "", ramping(0));
    *world.legacy.state.headers.lock().unwrap() = vec![("x-powered-by", "secret/1.0")];
    let sent = [("x-debug", "1"), ("x-old", "o"), ("x-tenant", "south"), ("x-tag", "a"), ("x-lang", "en")];
    let got = world.send("GET", "/a/thing", &sent, full("")).await;
    let seen = world.legacy.seen("/a/").remove(0).headers;
    let all = |name: &str| seen.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((all("x-debug").len(), all("x-old").len()), (0, 0));
    assert_eq!(
        (all("x-new"), all("x-tenant"), all("x-tag"), all("x-lang")),
        (vec!["o".into()], vec!["north".into()], vec!["a".into(), "b".into()], vec!["en".into()])
    );
    assert_eq!((got.header("x-served-by"), got.header("x-powered-by")), ("school", ""));
    world.get("/a/x").await;
    assert_eq!(world.legacy.seen("/a/x").remove(0).headers["x-lang"], "de");
}

#[tokio::test]
async fn paths_and_queries_are_rewritten_for_the_side_that_is_meant() {
    let world = World::start().await;
    let rules = "[[route]]\npath = \"/api/v1/users/{*rest}\"\n\
                 [route.plugins.rewrite]\nstrip_prefix = \"/api/v1\"\nadd_prefix = \"/internal\"\nquery = { rename = { q = \"search\" }, default = { page = \"1\" }, remove = [\"debug\"] }\n\
                 [[route]]\npath = \"/one/{id}/\"\nmodern_path = \"/items/{id}\"\n[route.plugins.rewrite]\nside = \"legacy\"\npath = \"/two/{id}/\"\n";
    serve(&world, rules, "", ramping(0));
    let target = async |path: &str| world.get(path).await.json()["target"].as_str().unwrap().to_owned();
    assert_eq!(target("/api/v1/users/7/?q=a%20b&debug=1").await, "/internal/users/7/?search=a%20b&page=1");
    assert_eq!(target("/api/v1/users/7/?page=2").await, "/internal/users/7/?page=2");
    assert_eq!(target("/one/7/?a=1").await, "/two/7/?a=1");
    serve(&world, rules, "", soaking());
    assert_eq!(target("/one/7/?a=1").await, "/items/7?a=1");
    assert_eq!(target("/api/v1/users/7/").await, "/internal/users/7/?page=1");
    assert_eq!(world.modern.seen("/items/7").remove(0).headers["x-ficus-original-path"], "/one/7/");
}

#[tokio::test]
async fn a_version_is_told_to_the_server_and_its_end_to_the_client() {
    let world = World::start().await;
    let rules = "[[route]]\npath = \"/api/{version}/{*rest}\"\n[route.plugins.version]\nfrom = [\"path:version\"]\nserves = [\"1\", \"2\"]\ngone = [\"0\"]\nheader = \"x-api-version\"\n\
                 deprecated = { 1 = \"2026-06-01\" }\nsunset = { 1 = \"2027-01-31\" }\nlink = \"https://docs.example.test/v1\"\n";
    serve(&world, rules, "", ramping(0));
    let old = world.get("/api/v1/a").await;
    assert_eq!(world.legacy.seen("/api/v1/").remove(0).headers["x-api-version"], "1");
    assert_eq!((old.header("deprecation"), old.header("sunset")), ("@1780272000", "Sun, 31 Jan 2027 00:00:00 GMT"));
    assert_eq!(old.header("link"), "<https://docs.example.test/v1>; rel=\"deprecation\"");
    let new = world.get("/api/v2/a").await;
    assert_eq!((new.status, new.header("deprecation"), new.header("sunset")), (200, "", ""));
    assert_eq!((world.get("/api/v0/a").await.status, world.get("/api/v3/a").await.status), (410, 400));
    assert_eq!(world.legacy.seen("/api/").len(), 2);
}

#[tokio::test]
async fn browsers_are_made_careful_and_the_server_behind_may_know_better() {
    let world = World::with(|config| config.trusted_proxies = vec!["127.0.0.1".into()]).await;
    let rules = "[plugins.security_headers]\nhsts = \"365d\"\nhsts_subdomains = true\nframe_options = \"DENY\"\nreferrer_policy = \"same-origin\"\ncontent_security_policy = \"default-src 'self'\"\n\
                 [[route]]\npath = \"/a/{*rest}\"\n[[route]]\npath = \"/closed/\"\n[route.plugins.ip]\ndeny = [\"127.0.0.1\"]\n";
    serve(&world, rules, "", ramping(0));
    *world.legacy.state.headers.lock().unwrap() = vec![("x-frame-options", "SAMEORIGIN")];
    let by_https = world.send("GET", "/a/thing", &[("x-forwarded-proto", "https")], full("")).await;
    assert_eq!(by_https.header("strict-transport-security"), "max-age=31536000; includeSubDomains");
    assert_eq!((by_https.header("x-frame-options"), by_https.header("x-content-type-options")), ("SAMEORIGIN", "nosniff"));
    assert_eq!((by_https.header("referrer-policy"), by_https.header("content-security-policy")), ("same-origin", "default-src 'self'"));
    let plain = world.get("/a/x").await;
    assert_eq!((plain.header("strict-transport-security"), plain.header("x-frame-options")), ("", "DENY"));
    let refused = world.get("/closed/").await;
    assert_eq!((refused.status, refused.header("x-frame-options")), (403, ""), "an address that is not let in is told nothing more");
}
