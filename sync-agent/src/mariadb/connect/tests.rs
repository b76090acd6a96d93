//! Connections that are encrypted, and such as are not to be trusted.

use std::path::Path;
use std::process::{Command, Stdio};

use mysql_async::prelude::Queryable;

use super::Server as Opened;
use crate::contract::mariadb::server::{Server, exec};

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).stderr(Stdio::null()).status().expect("openssl runs");
    assert!(done.success(), "openssl {arguments}");
}

/// An authority, and a certificate of this address that it signed.
fn certificates(dir: &Path) {
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
    openssl(dir, "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr");
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1").expect("writes");
    openssl(dir, "x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out server.pem");
    Command::new("chmod").args(["-R", "a+rX"]).arg(dir).status().expect("chmod runs");
}

#[tokio::test]
async fn a_certificate_has_to_fit_when_that_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let server = Server::start(&[&format!("--ssl-cert={}", path("server.pem")), &format!("--ssl-key={}", path("server.key"))]);
    let url = server.url(&server.database().await);
    let cipher = async |asked: &str| {
        let opened = Opened::open(&format!("{url}?{asked}"), "school").await.map_err(|error| error.to_string())?;
        let mut conn = opened.lease().await.map_err(|error| error.to_string())?;
        let status: Option<(String, String)> =
            conn.query_first("SHOW STATUS LIKE 'Ssl_cipher'").await.map_err(|error| error.to_string())?;
        Ok::<String, String>(status.map(|(_, cipher)| cipher).unwrap_or_default())
    };
    assert_eq!(cipher("tls=off").await.as_deref(), Ok(""));
    assert_ne!(cipher("tls=require").await.as_deref(), Ok(""));
    assert_ne!(cipher(&format!("tls=verify&tls_ca={}", path("ca.pem"))).await.as_deref(), Ok(""));
    let stranger = cipher("tls=verify").await.expect_err("nobody knows that authority");
    assert!(stranger.contains("school") && !stranger.contains("secret"), "{stranger}");
}

#[tokio::test]
async fn a_wrong_password_is_not_repeated() {
    let server = Server::shared();
    let name = server.database().await;
    let url = format!("mariadb://agent:hunter2@127.0.0.1:{}/{name}", server.port);
    let refused = Opened::open(&url, "school").await.err().expect("refused").to_string();
    assert!(refused.contains("Access denied") && !refused.contains("hunter2"), "{refused}");
}

#[tokio::test]
async fn sessions_commit_by_themselves_whatever_the_server_is_set_to() {
    let server = Server::start(&["--autocommit=0"]);
    let mut root = server.root("mysql").await;
    exec(&mut root, "CREATE USER agent@'%'; CREATE DATABASE school; GRANT ALL ON school.* TO agent@'%'").await;
    let opened = Opened::open(&format!("mariadb://agent@127.0.0.1:{}/school", server.port), "school").await.expect("opens");
    let mut conn = opened.lease().await.expect("a connection");
    assert_eq!(conn.query_first::<u8, _>("SELECT @@autocommit").await.expect("asks"), Some(1));
}
