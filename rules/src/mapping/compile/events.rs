//! `[[event]]`s of a pair: their columns in its modern row, and whom they are about.

use super::{Pair, kind};
use crate::event::{EventMap, EventPlan, Subject};
use crate::mapping::plan::{Place, Rule};

impl Pair<'_> {
    /// `columns` are those of the modern row, each made by the rule of its index.
    pub(super) fn events(&mut self, columns: &[String], rules: &[Rule]) -> Vec<EventPlan> {
        self.map.events.iter().filter_map(|event| self.event(event, columns, rules)).collect()
    }

    fn event(&mut self, event: &EventMap, columns: &[String], rules: &[Rule]) -> Option<EventPlan> {
        let mut told = Vec::new();
        for name in event.columns.iter().filter(|name| **name != self.map.modern_key) {
            match columns.iter().position(|column| column == name) {
                Some(index) => told.push((index, name.clone(), kind(self.modern, name).clone())),
                None => {
                    let message = format!("the event at {} tells of column {name}, which the pair does not carry", event.source);
                    self.error(message, "map the column, or take it out of the event");
                }
            }
        }
        let subject = match event.subject.as_ref().filter(|name| **name != self.map.modern_key) {
            None => Subject::Key,
            Some(name) => match columns.iter().position(|column| column == name).and_then(|index| rules.get(index)) {
                Some(Rule::Uuid { from: Place::Key, namespace, form, .. }) => Subject::Uuid(*namespace, *form),
                _ => {
                    let message = format!("the event at {} is about column {name}, which is not made of the key", event.source);
                    self.error(message, "leave `subject` out, or name a column that is made with `as = \"uuid5\"` of the key");
                    return None;
                }
            },
        };
        Some(EventPlan {
            bus: event.bus.clone(),
            types: event.types.clone(),
            origin: format!("/capabilities/{}/tables/{}", self.capability, self.map.modern),
            key: self.map.modern_key.clone(),
            subject,
            columns: told,
        })
    }
}
