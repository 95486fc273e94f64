//! What is known of the devices, for `latido status`. Written by the threads here, read by the
//! control socket's; the engine never touches it.
use crate::config::Config;
use crate::core::id::NodeId;
use crate::core::time::Instant;
use crate::platform::clock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The devices of every node.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Vec<NodeState>>>);

/// What is known of the fencing of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Its devices, in the order in which they are tried.
    pub devices: Vec<DeviceState>,
    /// The latest fence.
    pub last: Option<LastFence>,
    /// How many fences have come to an end since the engine's start.
    pub count: u32,
    /// A fence is under way since then.
    pub since: Option<Instant>,
}

/// What is known of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// How people call it.
    pub name: String,
    /// The latest self-test.
    pub test: Test,
    /// When that was.
    pub tested: Option<Instant>,
    /// Whether the node has power, as far as the device tells.
    pub power: Option<bool>,
}

/// What a self-test came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Test {
    /// None has ended yet.
    #[default]
    Pending,
    /// The device could be used.
    Good,
    /// It could not, and why.
    Failed(String),
}

/// What a fence came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFence {
    /// When it ended.
    pub at: Instant,
    /// The device that confirmed it, or what the last one said.
    pub outcome: Result<String, String>,
    /// Why the node could not be switched on again.
    pub dark: Option<String>,
}

impl Board {
    pub(super) fn new(config: &Config, me: usize) -> Board {
        let of = |index: usize| {
            let devices = config.devices_of(index).filter(|_| index != me);
            let state = |name| DeviceState { name, ..DeviceState::default() };
            let devices = devices.map(|device| state(device.name())).collect();
            NodeState { devices, ..NodeState::default() }
        };
        Board(Arc::new(Mutex::new((0..config.nodes.len()).map(of).collect())))
    }

    /// What is known of a node's fencing.
    pub fn of(&self, node: NodeId) -> NodeState {
        self.lock().get(node.index()).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NodeState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a self-test; the one before.
    pub(super) fn tested(
        &self,
        node: NodeId,
        device: usize,
        result: Result<Option<bool>, String>,
    ) -> Test {
        let mut nodes = self.lock();
        let device = nodes.get_mut(node.index()).and_then(|node| node.devices.get_mut(device));
        let Some(device) = device else { return Test::Pending };
        device.tested = Some(clock::now());
        let test = match result {
            Ok(power) => {
                device.power = power;
                Test::Good
            }
            Err(why) => Test::Failed(why),
        };
        std::mem::replace(&mut device.test, test)
    }

    pub(super) fn begun(&self, node: NodeId) {
        if let Some(node) = self.lock().get_mut(node.index()) {
            node.since = Some(clock::now());
        }
    }

    pub(super) fn ended(&self, node: NodeId, outcome: Result<String, String>) {
        if let Some(node) = self.lock().get_mut(node.index()) {
            node.since = None;
            node.count = node.count.saturating_add(1);
            node.last = Some(LastFence { at: clock::now(), outcome, dark: None });
        }
    }

    pub(super) fn dark(&self, node: NodeId, why: String) {
        if let Some(last) = self.lock().get_mut(node.index()).and_then(|node| node.last.as_mut()) {
            last.dark = Some(why);
        }
    }
}
