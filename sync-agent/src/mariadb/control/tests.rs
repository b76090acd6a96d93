//! The numbers that a side has given out.

use ficus_rules::Side;
use ficus_rules::mapping::compile;
use mysql_async::prelude::Queryable;

use crate::contract::mariadb::server::{Server, exec};
use crate::mariadb::Server as Opened;
use crate::mariadb::value::tests::map;
use crate::port::Engine;

#[tokio::test]
async fn the_highest_row_counts_where_no_sequence_gave_its_number() {
    let server = Server::shared();
    let name = server.database().await;
    let mut root = server.root(&name).await;
    exec(&mut root, "CREATE TABLE `from``here` (id int PRIMARY KEY, `c``0` varchar(20) NOT NULL)").await;
    exec(&mut root, "CREATE TABLE `to here` (legacy_id int UNIQUE, c0 varchar(20) NOT NULL)").await;
    let opened = Opened::open(&server.url(&name), "kinds").await.expect("opens");
    let from = opened.columns(&["from`here".into()]).await.expect("columns");
    let to = opened.columns(&["to here".into()]).await.expect("columns");
    let plans = compile("kinds", &[map(1)], &from, &to).expect("compiles");
    let sink = opened.side("kinds", Side::Modern, &plans).await.expect("a side");
    assert_eq!(sink.sequence(0).await.expect("asks"), 0);
    exec(&mut root, "INSERT INTO `to here` VALUES (9, 'a'), (12, 'b')").await;
    assert_eq!(sink.sequence(0).await.expect("asks"), 12);
}

#[tokio::test]
async fn the_table_s_own_numbers_go_on_above_those_of_the_other_side() {
    let server = Server::shared();
    let name = server.database().await;
    let mut root = server.root(&name).await;
    exec(&mut root, "CREATE TABLE `from``here` (id int PRIMARY KEY, `c``0` varchar(20) NOT NULL)").await;
    for (counted, next) in [
        ("legacy_id int AUTO_INCREMENT PRIMARY KEY, c0 varchar(20) NOT NULL", 42),
        ("legacy_id int UNIQUE, c0 varchar(20) NOT NULL, id int AUTO_INCREMENT PRIMARY KEY", 1),
    ] {
        exec(&mut root, "DROP TABLE IF EXISTS `to here`").await;
        exec(&mut root, &format!("CREATE TABLE `to here` ({counted})")).await;
        let opened = Opened::open(&server.url(&name), "kinds").await.expect("opens");
        let from = opened.columns(&["from`here".into()]).await.expect("columns");
        let to = opened.columns(&["to here".into()]).await.expect("columns");
        let plans = compile("kinds", &[map(1)], &from, &to).expect("compiles");
        let sink = opened.side("kinds", Side::Modern, &plans).await.expect("a side");
        sink.prepare().await.expect("prepares");
        sink.claim("a source", None).await.expect("a turn");
        // The row with the number 41 was deleted on legacy.
        sink.raise_sequence(0, 41).await.expect("raises");
        exec(&mut root, "INSERT INTO `to here` (c0) VALUES ('born here')").await;
        let column = if next == 42 { "legacy_id" } else { "id" };
        let number: Option<i64> = root.query_first(format!("SELECT {column} FROM `to here`")).await.expect("asks");
        assert_eq!(number, Some(next), "{counted}");
    }
}
