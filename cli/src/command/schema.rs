//! `ficus schema`: the JSON Schemas by which editors complete and check `ficus.toml` and rule files.

use ficus_rules::spec::schema;

use crate::args::SchemaOf;

/// A schema as it is printed, and as `ficus init` leaves it beside the files.
pub(super) fn text(of: SchemaOf) -> String {
    match of {
        SchemaOf::Rules => schema::of_rules(),
        SchemaOf::Flags => schema::of_flags(),
        SchemaOf::Ficus => include_str!("../../../docs/schema/ficus.schema.json").to_owned(),
    }
}

/// What a schema's file is called.
pub(super) fn file(of: SchemaOf) -> &'static str {
    match of {
        SchemaOf::Rules => "rules.schema.json",
        SchemaOf::Flags => "flags.schema.json",
        SchemaOf::Ficus => "ficus.schema.json",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum as _;

    use super::{file, text};
    use crate::args::SchemaOf;

    #[test]
    fn the_schemas_of_the_documentation_are_those_that_are_printed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
        for of in SchemaOf::value_variants() {
            let kept = std::fs::read_to_string(folder.join(file(*of))).expect("a schema");
            assert!(kept == text(*of), "docs/schema/{} is not what `ficus schema` prints: type `make reference`", file(*of));
        }
    }
}
