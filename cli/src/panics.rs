//! Panics of a part: each ends one request or one task, and says nothing by itself. Counted, and written to the log.

use std::sync::LazyLock;

use prometheus::IntCounter;

static PANICS: LazyLock<IntCounter> = LazyLock::new(|| {
    let counter = IntCounter::new("ficus_panics_total", "Panics, each of which ended one request or task").expect("the name is valid");
    // It fails when it is registered already, and is the same one then.
    let _ = prometheus::register(Box::new(counter.clone()));
    counter
});

/// Counts and logs panics from now on, besides whatever else happens at one. To be called once, by whatever serves.
pub(crate) fn watch() {
    LazyLock::force(&PANICS);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.inc();
        tracing::error!(at = panic.location().map(ToString::to_string), "panic");
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_from_zero_on() {
        watch();
        let shown =
            || prometheus::gather().iter().find(|f| f.name() == "ficus_panics_total").map(|f| f.get_metric()[0].get_counter().get_value());
        let before = shown().expect("it is there before the first one");
        std::thread::spawn(|| panic!("on purpose")).join().expect_err("it panicked");
        assert!(shown().expect("it is there") > before);
    }
}
