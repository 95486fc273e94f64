//! The first `latido.toml` of a machine: short, complete, and explained.
use super::Profile;
use std::fmt::Write as _;

/// What the first configuration is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The cluster's name.
    pub cluster: String,
    /// Both nodes, this one among them.
    pub nodes: [String; 2],
    /// The network's interface.
    pub interface: String,
    /// The address that moves, with its prefix length.
    pub address: String,
    /// Whether there is a serial cable.
    pub serial: bool,
    /// The key file.
    pub keys: String,
}

/// The text of the file. Everything in it is checked by `latido check` like any other.
pub fn first_config(profile: &Profile, wish: &Wish) -> String {
    let [one, other] = &wish.nodes;
    let mut text = format!(
        "# Latido on {title}; the same file on both nodes. Check it: latido check\n\
         # Every key is explained in docs/configuration.md.\n\
         [cluster]\n\
         name  = \"{cluster}\"\n\
         nodes = [\"{one}\", \"{other}\"]   # as `uname -n` says; the first is preferred\n\n\
         [timing]\n\
         interval     = \"200ms\"\n\
         warn         = \"1s\"\n\
         dead         = \"2s\"      # `latido advise` recommends from what it has measured\n\
         initial_dead = \"30s\"\n\n\
         [quorum]\n\
         # Two nodes that no third one judges: with every path cut, both will own everything.\n\
         # A witness (rule = \"majority\") or a power switch (rule = \"fencing\") ends that.\n\
         rule = \"assume-dead\"\n\n\
         [keys]\n\
         file = \"{keys}\"   # made by `latido keygen`, copied to the other node\n\n\
         [[link]]\n\
         udp       = \"broadcast\"\n\
         interface = \"{interface}\"\n\n",
        title = profile.title,
        cluster = wish.cluster,
        keys = wish.keys,
        interface = wish.interface,
    );
    let uart = &profile.uart;
    let begin = if wish.serial { "" } else { "# " };
    let baud = uart.max.min(115_200);
    // Cannot fail: a String takes everything.
    let _ = write!(
        text,
        "# The cable that network trouble does not touch ({level}).\n\
         # {pins}\n\
         {begin}[[link]]\n\
         {begin}serial = \"{device}\"\n\
         {begin}baud   = {baud}\n\n",
        level = uart.level,
        pins = uart.pins,
        device = uart.device,
    );
    let _ = write!(
        text,
        "[[group]]\n\
         name      = \"web\"\n\
         prefer    = [\"{one}\", \"{other}\"]\n\
         failback  = \"manual\"    # or \"auto\": back to {one} when it is stable again\n\
         resources = [\n\
         \x20 {{ address = \"{address}\", interface = \"{interface}\" }},\n\
         \x20 # {{ service = \"nginx\" }},\n\
         ]\n",
        address = wish.address,
        interface = wish.interface,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::all;
    use crate::config::{Source, load};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_passes_the_check_on_every_board() {
        let dir = std::env::temp_dir().join(format!("latido-first-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let keys = dir.join("keys");
        fs::write(&keys, format!("use 1\n1 {}\n", "5a".repeat(32))).expect("written");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("private");
        for profile in all() {
            for serial in [false, true] {
                let wish = Wish {
                    cluster: "home".into(),
                    nodes: ["pi".into(), "laptop".into()],
                    interface: profile.interfaces[0].clone(),
                    address: "192.168.0.20/24".into(),
                    serial,
                    keys: keys.display().to_string(),
                };
                let file = dir.join("latido.toml");
                fs::write(&file, first_config(&profile, &wish)).expect("written");
                let loaded = load(&Source::Latido(file));
                let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
                assert_eq!(config.links.len(), 1 + usize::from(serial));
                assert_eq!(config.groups.len(), 1);
            }
        }
        fs::remove_dir_all(&dir).expect("removed");
    }
}
