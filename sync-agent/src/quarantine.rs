//! How a row that was set aside is kept, as JSON by column (bytes in hexadecimal), and how much of it is shown to people.

use ficus_rules::mapping::{Plan, Row, Value};
use ficus_rules::wire::SetAside;
use ficus_rules::{Side, Timestamp};

/// Rows of one stream that are shown.
pub(crate) const SHOWN: u32 = 20;
/// An image of more bytes is not read back.
pub(crate) const LARGEST: usize = 16 << 10;
/// Characters of a value that are shown.
const LONGEST: usize = 300;
/// What a column's name has in it whose values are nobody's to see.
const SECRET: [&str; 4] = ["password", "passwd", "secret", "token"];
/// What stands in their place.
const HIDDEN: &str = "(not shown)";
/// Bytes of all rows of an agent that are shown, about.
const ALL: usize = 1 << 20;

/// The image of a row. Values beyond the columns (lookups) are left out.
pub(crate) fn image(key: &str, columns: &[String], row: &Row) -> serde_json::Value {
    let cells = std::iter::once((key, &row.key)).chain(columns.iter().map(String::as_str).zip(&row.values));
    serde_json::Value::Object(cells.map(|(column, value)| (column.to_owned(), json(value))).collect())
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Int(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => serde_json::json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    }
}

/// A row as a database keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The pair, by its name.
    pub pair: String,
    /// The key, as the engine writes it.
    pub key: String,
    /// When it was set aside, in milliseconds since 1970.
    pub at: u64,
    /// Why.
    pub reason: String,
    /// What was to be written.
    pub wanted: Image,
    /// What was there.
    pub there: Image,
}

/// One image of a row that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// There is none.
    None,
    /// JSON by column.
    Text(String),
    /// It is larger than is read back.
    Large,
}

impl Image {
    /// What `length` says of it, and its text if that was read.
    pub(crate) fn read(length: Option<i64>, text: Option<String>) -> Image {
        match (length, text) {
            (None, _) => Image::None,
            (Some(_), Some(text)) => Image::Text(text),
            (Some(_), None) => Image::Large,
        }
    }
}

/// As people are shown it.
pub(crate) fn shown(capability: &str, from: Side, plans: &[Plan], kept: Kept) -> SetAside {
    let Kept { pair, key, at, reason, wanted, there } = kept;
    let plan = plans.iter().find(|plan| plan.pair == pair);
    let (legacy, modern) = plan.map_or((pair, String::new()), |plan| (plan.legacy.table.clone(), plan.modern.table.clone()));
    let mut cut = false;
    let mut cells = |image| match image {
        Image::None => None,
        Image::Large => {
            cut = true;
            None
        }
        Image::Text(text) => Some(shortened(&text, &mut cut)),
    };
    let (wanted, there) = (cells(wanted), cells(there));
    SetAside { capability: capability.to_owned(), from, legacy, modern, key, at: Timestamp(at), reason, wanted, there, cut }
}

/// An image without secrets, and without more than the beginning of a long value.
fn shortened(image: &str, cut: &mut bool) -> serde_json::Value {
    let Ok(mut image) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(image) else { return HIDDEN.into() };
    for (column, cell) in &mut image {
        let column = column.to_lowercase();
        if !cell.is_null() && SECRET.iter().any(|word| column.contains(word)) {
            *cell = HIDDEN.into();
        }
        let text = if cell.is_object() { cell.get_mut("hex") } else { Some(cell) };
        if let Some(serde_json::Value::String(text)) = text
            && let Some((end, _)) = text.char_indices().nth(LONGEST)
        {
            text.truncate(end);
            text.push('…');
            *cut = true;
        }
    }
    image.into()
}

/// The first rows that are no more than a message should carry.
pub(crate) fn bounded(rows: impl Iterator<Item = SetAside>) -> Vec<SetAside> {
    let mut room = ALL;
    rows.take_while(|row| {
        let size = serde_json::to_string(row).map_or(ALL, |text| text.len());
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(wanted: Image) -> Kept {
        Kept { pair: "item".into(), key: "7".into(), at: 5, reason: "column name: too long".into(), wanted, there: Image::None }
    }

    #[test]
    fn of_a_long_value_the_beginning_is_shown_and_it_says_so() {
        let long = "ü".repeat(LONGEST + 1);
        let image = serde_json::json!({ "id": 7, "name": long, "photo": { "hex": long }, "short": "s" }).to_string();
        let row = shown("items", Side::Legacy, &[], kept(Image::Text(image)));
        let wanted = row.wanted.expect("an image");
        let expected = format!("{}…", "ü".repeat(LONGEST));
        assert_eq!(wanted, serde_json::json!({ "id": 7, "name": expected, "photo": { "hex": expected }, "short": "s" }));
        assert!(row.cut);
        let whole = shown("items", Side::Legacy, &[], kept(Image::Text("{\"id\":7}".into())));
        assert_eq!((whole.cut, whole.wanted), (false, Some(serde_json::json!({ "id": 7 }))));
        let large = shown("items", Side::Legacy, &[], kept(Image::Large));
        assert_eq!((large.cut, large.wanted), (true, None));
    }

    #[test]
    fn what_a_secret_is_is_not_shown() {
        let image = r#"{"id":7,"password":"pbkdf2$1$x","API_Token":"t","reset_secret":null,"name":"Ann"}"#;
        let wanted = shown("items", Side::Legacy, &[], kept(Image::Text(image.into()))).wanted;
        let expected = serde_json::json!({ "id": 7, "password": HIDDEN, "API_Token": HIDDEN, "reset_secret": null, "name": "Ann" });
        assert_eq!(wanted, Some(expected));
        assert_eq!(shown("items", Side::Legacy, &[], kept(Image::Text("no JSON".into()))).wanted, Some(HIDDEN.into()));
    }

    #[test]
    fn a_message_stays_small_whatever_is_set_aside() {
        let image: serde_json::Map<_, _> = (0..200).map(|at| (format!("c{at}"), "x".repeat(LONGEST).into())).collect();
        let row = SetAside { wanted: Some(image.into()), ..shown("items", Side::Legacy, &[], kept(Image::None)) };
        let sent = bounded(std::iter::repeat_n(row.clone(), 100));
        let size: usize = sent.iter().map(|row| serde_json::to_string(row).expect("JSON").len()).sum();
        assert!(sent.len() > 10 && sent.len() < 100 && size <= ALL, "{} rows, {size} bytes", sent.len());
        assert_eq!(bounded(std::iter::repeat_n(row, 3)).len(), 3);
    }
}
