//! What is visible: to gateways, to agents, to readers of the status. Built from one view, so that they never disagree.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ficus_rules::Side;
use ficus_rules::migration::{Phase, desired};
use ficus_rules::plan::Capability;
use ficus_rules::spec::Complaint;
use ficus_rules::wire::{Orders, Overrides, Published, RuleFile};
use tokio::sync::watch;

use crate::rulebook::Rulebook;
use crate::store::Stored;

/// Everything that the reconciler knows to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) rulebook: Arc<Rulebook>,
    pub(crate) states: BTreeMap<String, Stored>,
    pub(crate) overrides: Overrides,
    pub(crate) overrides_generation: u64,
    /// What is wrong with the rule files that were read last.
    pub(crate) complaints: Vec<Complaint>,
    /// The rule files that were read last, good or bad; `None`: they could not be read.
    pub(crate) attempted: Option<Vec<RuleFile>>,
}

impl View {
    /// Capabilities that have rules and a state, with both.
    pub(crate) fn capabilities(&self) -> impl Iterator<Item = (&Capability, &Stored)> {
        self.rulebook.rules.capabilities.values().filter_map(|plan| Some((plan, self.states.get(&plan.name)?)))
    }

    /// One capability.
    pub(crate) fn capability(&self, name: &str) -> Option<(&Capability, &Stored)> {
        Some((self.rulebook.rules.capabilities.get(name)?, self.states.get(name)?))
    }

    /// Who owns a capability, and where it is.
    pub(crate) fn place(&self, name: &str) -> Option<(Side, Phase)> {
        self.capability(name).map(|(_, stored)| (stored.state.owner, stored.state.phase))
    }

    /// The newest generation that anything in it was published at.
    pub(crate) fn newest(&self) -> u64 {
        let states = self.states.values().map(|stored| stored.serving_generation.max(stored.orders_generation));
        states.max().unwrap_or(0).max(self.rulebook.published).max(self.overrides_generation)
    }

    /// What gateways serve by.
    pub(crate) fn published(&self) -> Published {
        let newest = self.capabilities().map(|(_, stored)| stored.serving_generation).max().unwrap_or(0);
        Published {
            generation: newest.max(self.rulebook.published).max(self.overrides_generation),
            rules_generation: self.rulebook.generation,
            rules: self.rulebook.files.clone(),
            capabilities: self.capabilities().map(|(plan, s)| (plan.name.clone(), desired::serving(&s.state, plan))).collect(),
            overrides: self.overrides.clone(),
        }
    }

    fn orders(&self) -> Orders {
        let newest = self.capabilities().map(|(_, stored)| stored.orders_generation).max().unwrap_or(0);
        Orders {
            generation: newest.max(self.rulebook.published),
            rules: self.rulebook.files.clone(),
            capabilities: self
                .capabilities()
                .filter_map(|(plan, s)| desired::orders(&s.state, plan).map(|orders| (plan.name.clone(), orders)))
                .collect(),
        }
    }
}

/// The visible state. Only the reconciler shows; everybody reads and waits.
pub(crate) struct Publisher {
    view: ArcSwap<View>,
    published: watch::Sender<Arc<Published>>,
    orders: watch::Sender<Arc<Orders>>,
}

impl Default for Publisher {
    fn default() -> Self {
        Publisher { view: ArcSwap::default(), published: watch::Sender::new(Arc::default()), orders: watch::Sender::new(Arc::default()) }
    }
}

impl Publisher {
    /// Makes a view visible, and wakes those who wait for what changed in it.
    pub(crate) fn show(&self, view: &View) {
        let (published, orders) = (view.published(), view.orders());
        self.view.store(Arc::new(view.clone()));
        self.published.send_if_modified(|seen| {
            let newer = published.generation > seen.generation;
            if newer {
                *seen = Arc::new(published);
            }
            newer
        });
        self.orders.send_if_modified(|seen| {
            let newer = orders.generation > seen.generation;
            if newer {
                *seen = Arc::new(orders);
            }
            newer
        });
    }

    /// The view.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// For gateways.
    pub(crate) fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// For agents.
    pub(crate) fn orders(&self) -> watch::Receiver<Arc<Orders>> {
        self.orders.subscribe()
    }

    /// The newest generation that gateways can take.
    pub(crate) fn generation(&self) -> u64 {
        self.published.borrow().generation
    }
}
