//! A line of a benchmark's output: one JSON object, with its bar and whether it is met.

use serde_json::{Map, Value, json};

/// One figure.
pub(crate) struct Line {
    fields: Map<String, Value>,
    ok: bool,
}

impl Line {
    /// A figure without a bar.
    pub(crate) fn of(bench: &str, metric: &str, value: u64, unit: &str) -> Line {
        let fields = json!({ "bench": bench, "metric": metric, "value": value, "unit": unit, "peer": null, "peer_value": null,
                             "ratio": null, "bar": null });
        let Value::Object(fields) = fields else { unreachable!("an object was written") };
        Line { fields, ok: true }
    }

    /// It must be less.
    pub(crate) fn below(self, bar: u64) -> Line {
        let ok = self.fields["value"].as_u64().is_some_and(|value| value < bar);
        Line { ok, ..self.with("bar", bar) }
    }

    /// There must be none.
    pub(crate) fn none(self) -> Line {
        let ok = self.fields["value"] == 0;
        Line { ok, ..self.with("bar", 0) }
    }

    /// It must be as much, at least.
    pub(crate) fn at_least(self, bar: u64) -> Line {
        let ok = self.fields["value"].as_u64().is_some_and(|value| value >= bar);
        Line { ok, ..self.with("bar", bar) }
    }

    /// Something beside it.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Line {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Prints it. Whether its bar is met.
    pub(crate) fn print(self) -> bool {
        let ok = self.ok;
        println!("{}", Value::Object(self.with("ok", ok).fields));
        ok
    }
}

/// The value that so many percent of all do not exceed; these are sorted. The largest number where there are none.
pub(crate) fn percentile(values: &mut [u64], percent: usize) -> u64 {
    values.sort_unstable();
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(u64::MAX)
}
