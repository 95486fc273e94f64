//! Sentences about keys, and about those who have ours under another cluster's name.
use super::text::{Names, Sentence, say};
use super::{Level, text};
use crate::config::{other_spelling, tag_of};
use crate::core::io::{Event, Stranger};

/// The sentence for such an event.
pub(super) fn event(event: Event, names: &Names) -> Sentence {
    match event {
        Event::PeerKey(node, key) => {
            let node = names.voter(node);
            say(Level::Notice, format!("{node} seals its frames with key {key} from now on"))
        }
        Event::OtherCluster(link, stranger) => {
            let text = other_cluster(stranger, names);
            say(Level::Error, format!("link {}: {text}", names.link(link)))
        }
        // Only the events above come here.
        other => text::say(Level::Warning, format!("{other:?}")),
    }
}

/// Who has our key and another cluster's name, and what to do.
pub(crate) fn other_cluster(stranger: Stranger, names: &Names) -> String {
    let ours = &names.cluster;
    let theirs = match other_spelling(ours, stranger.tag) {
        Some(name) => format!("calls its cluster \"{name}\""),
        None => format!(
            "calls its cluster by another name (its hash is {:08x}, that of ours is {:08x})",
            stranger.tag,
            tag_of(ours)
        ),
    };
    if stranger.same_voters {
        let node = names.node(stranger.node);
        return format!(
            "{node} has the right key, but {theirs}; this node calls it \"{ours}\": write the \
             same name on both"
        );
    }
    format!(
        "somebody has our key, but {theirs} and has other nodes; this node's is \"{ours}\": if it \
         is meant to be of this cluster, write the same name and nodes on both; if not, give it \
         a key of its own"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::NodeId;
    use crate::core::time::Instant;

    #[test]
    fn who_calls_it_how() {
        let names = Names {
            cluster: "Home".into(),
            nodes: vec!["debian".into(), "pi".into()],
            ..Names::default()
        };
        let node = NodeId::default();
        let stranger = |name: &str, same_voters| Stranger {
            node,
            tag: tag_of(name),
            same_voters,
            at: Instant::default(),
        };
        let text = other_cluster(stranger("home", true), &names);
        assert!(
            text.contains("debian has the right key, but calls its cluster \"home\""),
            "{text}"
        );
        assert!(text.contains("this node calls it \"Home\""), "{text}");
        let text = other_cluster(stranger("office", true), &names);
        assert!(text.contains(&format!("{:08x}", tag_of("office"))), "{text}");
        let text = other_cluster(stranger("office", false), &names);
        assert!(text.starts_with("somebody has our key") && text.contains("of its own"), "{text}");
    }
}
