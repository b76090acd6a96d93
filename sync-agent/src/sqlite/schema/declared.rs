//! What a column was declared to hold, from the words that Django, SQLAlchemy and people write in `CREATE TABLE`. SQLite
//! enforces none of them, so every kind is a loose one; words that nobody is known to use promise nothing.

use ficus_rules::mapping::Kind;

/// The kind behind a declared type, `varchar(30)`.
pub(super) fn kind(declared: &str) -> Kind {
    let declared = declared.to_ascii_lowercase();
    let (name, size) = declared.split_once('(').unwrap_or((&declared, ""));
    let words: Vec<&str> = name.split_whitespace().filter(|word| *word != "unsigned").collect();
    let size = size.split(')').next().unwrap_or_default().trim();
    let kind = match words.join(" ").as_str() {
        "bool" | "boolean" => Kind::Bool,
        "int" | "integer" | "tinyint" | "smallint" | "mediumint" | "bigint" | "big int" | "int2" | "int4" | "int8" => Kind::Int,
        "real" | "double" | "double precision" | "float" => Kind::Real,
        "decimal" | "numeric" => Kind::Decimal,
        "char" | "character" if size == "32" => Kind::Char32,
        "char" | "character" | "nchar" | "varchar" | "nvarchar" | "character varying" | "varying character" | "native character"
        | "text" | "clob" => Kind::Text,
        "blob" | "binary" | "varbinary" | "bytea" => Kind::Bytes,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "datetime" | "timestamp" => Kind::Timestamp,
        "json" => Kind::Json,
        "uuid" => Kind::Uuid,
        _ => return Kind::Any,
    };
    Kind::Loose(Box::new(kind))
}

#[cfg(test)]
mod tests {
    use super::kind;
    use ficus_rules::mapping::Kind;

    #[test]
    fn django_and_sqlalchemy_mean_something_by_their_types() {
        for (declared, expected) in [
            ("integer", Kind::Int),
            ("bigint", Kind::Int),
            ("integer unsigned", Kind::Int),
            ("smallint unsigned", Kind::Int),
            ("INTEGER", Kind::Int),
            ("bool", Kind::Bool),
            ("BOOLEAN", Kind::Bool),
            ("datetime", Kind::Timestamp),
            ("DATETIME", Kind::Timestamp),
            ("TIMESTAMP", Kind::Timestamp),
            ("date", Kind::Date),
            ("time", Kind::Time),
            ("decimal", Kind::Decimal),
            ("NUMERIC(10, 2)", Kind::Decimal),
            ("DECIMAL(10,2)", Kind::Decimal),
            ("real", Kind::Real),
            ("FLOAT", Kind::Real),
            ("varchar(254)", Kind::Text),
            ("VARCHAR(32)", Kind::Text),
            ("text", Kind::Text),
            ("char(32)", Kind::Char32),
            ("CHAR(32)", Kind::Char32),
            ("char(39)", Kind::Text),
            ("JSON", Kind::Json),
            ("BLOB", Kind::Bytes),
            ("UUID", Kind::Uuid),
        ] {
            assert_eq!(kind(declared), Kind::Loose(Box::new(expected)), "{declared}");
        }
        for declared in ["", "interval", "point", "STRING", "stuff(3)"] {
            assert_eq!(kind(declared), Kind::Any, "{declared}");
        }
    }
}
