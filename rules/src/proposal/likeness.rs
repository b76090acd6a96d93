//! How alike two names are: words in the singular, known synonyms, spellings.

/// Words that people use for one thing, the one that is compared first.
const SYNONYMS: &[&[&str]] = &[
    &["given name", "first name", "forename"],
    &["family name", "last name", "surname"],
    &["role", "user type", "account type"],
    &["joined at", "date joined", "join date", "registered at"],
    &["created at", "created", "date created", "created on", "creation date", "timestamp"],
    &["updated at", "updated", "modified", "date modified", "modified at", "updated on", "last modified"],
    &["deleted at", "deleted", "is deleted"],
    &["active", "is active", "enabled"],
    &["email", "email address", "mail"],
    &["phone", "phone number", "mobile"],
    &["password", "password hash", "hashed password"],
    &["body", "text", "content", "message"],
    &["title", "name", "label"],
    &["url", "link"],
    &["description", "summary", "desc"],
];

/// The words of a name, in the singular and in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut small = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() {
            words.push(String::new());
        } else if letter.is_uppercase() && small || words.is_empty() {
            words.push(letter.to_lowercase().collect());
        } else if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
        small = letter.is_lowercase() || letter.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words.iter().map(|word| singular(word)).collect()
}

fn singular(word: &str) -> String {
    let without = |end: &str| word.strip_suffix(end).filter(|rest| rest.len() > 1);
    if let Some(rest) = without("ies") {
        return format!("{rest}y");
    }
    if let Some(rest) = without("sses").or_else(|| without("xes").map(|_| &word[..word.len() - 3])) {
        return if word.ends_with("sses") { format!("{rest}ss") } else { format!("{rest}x") };
    }
    match without("s") {
        Some(rest) if !rest.ends_with('s') && !rest.ends_with('u') && !rest.ends_with('i') => rest.to_owned(),
        _ => word.to_owned(),
    }
}

/// How alike a legacy and a modern table's names are, from 0 to 1. What Django puts before a name (the app) does not count.
pub(super) fn tables(legacy: &str, modern: &str) -> f64 {
    let (legacy, modern) = (words(legacy), words(modern));
    let wanted = modern.concat();
    let mut best: f64 = 0.0;
    for skipped in 0..legacy.len() {
        let name = legacy[skipped..].concat();
        let alike = if name == wanted {
            1.0
        } else if wanted.len() >= 4 && name.ends_with(&wanted) || name.len() >= 4 && wanted.ends_with(&name) {
            0.85
        } else if wanted.len() >= 4 && name.starts_with(&wanted) || name.len() >= 4 && wanted.starts_with(&name) {
            0.7
        } else {
            0.65 * strsim::normalized_damerau_levenshtein(&name, &wanted)
        };
        best = best.max(alike);
    }
    best
}

/// How alike two columns' names are, from 0 to 1; at 1 they mean the same to everybody.
pub(super) fn columns(legacy: &str, modern: &str) -> f64 {
    if legacy == modern {
        return 1.0;
    }
    let (legacy, modern) = (words(legacy).join(" "), words(modern).join(" "));
    let same = legacy == modern || SYNONYMS.iter().any(|group| group.contains(&legacy.as_str()) && group.contains(&modern.as_str()));
    if same { 0.95 } else { 0.9 * strsim::normalized_damerau_levenshtein(&legacy, &modern) }
}

/// From here on two columns are taken for the same.
pub(super) const SURE: f64 = 0.94;

/// From here on somebody is asked whether they are the same.
pub(super) const LIKELY: f64 = 0.6;
