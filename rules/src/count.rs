//! Numbers in sentences that people read: `1 row differs`, `2 rows differ`.

/// A number with what there is so many of: `one` if it is one, `many` otherwise.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The same of a noun whose plural ends in `s`.
pub fn of(number: u64, noun: &str) -> String {
    counted(number, noun, &format!("{noun}s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|rows| of(rows, "row")), ["0 rows", "1 row", "2 rows"]);
        assert_eq!([1, 3].map(|rows| counted(rows, "row differs", "rows differ")), ["1 row differs", "3 rows differ"]);
    }
}
