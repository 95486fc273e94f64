//! Wires, and `[panel]`: lamps that show this node's state, and a button that switches over.

/// A heartbeat wire to the other node: `[[link]] gpio`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The pin that changes with every heartbeat.
    pub drive: String,
    /// The pin that the other node's is wired to.
    pub watch: String,
}

/// Pins, where there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Panel {
    /// Lit while this node owns a group.
    pub owner: Option<String>,
    /// Lit while it owns none and could.
    pub standby: Option<String>,
    /// Lit while something needs somebody.
    pub alarm: Option<String>,
    /// Held for two seconds it switches over.
    pub button: Option<String>,
}

impl Panel {
    /// Whether there is anything.
    pub fn is_empty(&self) -> bool {
        *self == Panel::default()
    }

    fn pins(&self) -> [(&'static str, &Option<String>); 4] {
        [
            ("owner", &self.owner),
            ("standby", &self.standby),
            ("alarm", &self.alarm),
            ("button", &self.button),
        ]
    }

    /// The table as `latido.toml` has it; empty without one.
    pub(super) fn table(&self, quote: impl Fn(&str) -> String) -> String {
        if self.is_empty() {
            return String::new();
        }
        let lines = self
            .pins()
            .into_iter()
            .filter_map(|(key, pin)| pin.as_ref().map(|pin| format!("{key} = {}\n", quote(pin))));
        format!("\n[panel]\n{}", lines.collect::<String>())
    }
}
