//! The numbers that a side has given out.

use mysql_async::prelude::Queryable;

use crate::contract::mariadb::server::exec;
use crate::mariadb::apply::tests::Bed;
use crate::mariadb::value::tests::map;

const FROM: &str = "id int PRIMARY KEY, `c``0` varchar(20) NOT NULL";

#[tokio::test]
async fn the_highest_row_counts_where_no_sequence_gave_its_number() {
    let Bed { mut root, sink, .. } = Bed::new(FROM, "legacy_id int UNIQUE, c0 varchar(20) NOT NULL", map(1)).await;
    assert_eq!(sink.sequence(0).await.expect("asks"), 0);
    exec(&mut root, "INSERT INTO `to here` VALUES (9, 'a'), (12, 'b')").await;
    assert_eq!(sink.sequence(0).await.expect("asks"), 12);
}

#[tokio::test]
async fn the_table_s_own_numbers_go_on_above_those_of_the_other_side() {
    for (counted, next) in [
        ("legacy_id int AUTO_INCREMENT PRIMARY KEY, c0 varchar(20) NOT NULL", 42),
        ("legacy_id int UNIQUE, c0 varchar(20) NOT NULL, id int AUTO_INCREMENT PRIMARY KEY", 1),
    ] {
        let Bed { mut root, sink, .. } = Bed::new(FROM, counted, map(1)).await;
        // The row with the number 41 was deleted on legacy.
        sink.raise_sequence(0, 41).await.expect("raises");
        exec(&mut root, "INSERT INTO `to here` (c0) VALUES ('born here')").await;
        let column = if next == 42 { "legacy_id" } else { "id" };
        let number: Option<i64> = root.query_first(format!("SELECT {column} FROM `to here`")).await.expect("asks");
        assert_eq!(number, Some(next), "{counted}");
    }
}
