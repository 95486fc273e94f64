//! The two machines and the paths between them, drawn and in words.
use crate::lab::pair::Link;
use std::fmt::Write as _;

/// A path between the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) link: Link,
    /// How people call it.
    pub(super) name: String,
    /// Whether heartbeats use it; the clients' LAN is there without them, too.
    pub(super) heartbeats: bool,
}

/// The only path that carries heartbeats, if there is no other.
pub(super) fn only(paths: &[Path]) -> Option<Link> {
    let mut carrying = paths.iter().filter(|path| path.heartbeats);
    let first = carrying.next()?;
    carrying.next().is_none().then_some(first.link)
}

/// The nodes, and below the first path, the LAN, all others.
pub(super) fn draw(nodes: &[String; 2], paths: &[Path]) -> String {
    let label = |path: &Path| {
        let clients = if path.heartbeats { "" } else { ", no heartbeats" };
        format!(" {}{clients} ", path.name)
    };
    let labels: Vec<String> = paths.iter().map(label).collect();
    let widest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let width = (widest + 8).max(30);
    let mut text = String::new();
    for (index, label) in labels.iter().enumerate() {
        let last = index + 1 == labels.len();
        // Writing to a String cannot fail.
        let _ = match index {
            0 => writeln!(text, "   {} {label:─^width$} {}", nodes[0], nodes[1]),
            _ => {
                // From below the first name to below the second.
                let width = width + nodes[0].chars().count() + 1;
                let (left, right) = if last { ('└', '┘') } else { ('├', '┤') };
                writeln!(text, "    {left}{label:─^width$}{right}")
            }
        };
    }
    let over = match paths.iter().filter(|path| path.heartbeats).count() {
        1 => "one path only".to_owned(),
        2 => "both paths".to_owned(),
        count => format!("all {count} paths"),
    };
    let over = if paths.iter().all(|path| path.heartbeats) || over.starts_with("one") {
        over
    } else {
        "the other paths".to_owned()
    };
    let _ = write!(
        text,
        "\nHeartbeats go over {over}. One of the two machines has the address that the client \
         asks every millisecond."
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(link: Link, name: &str, heartbeats: bool) -> Path {
        Path { link, name: name.into(), heartbeats }
    }

    #[test]
    fn every_path_ends_below_both_names() {
        let nodes = ["pi".to_owned(), "a-longer-name".to_owned()];
        let paths = [
            path(Link::Lan, "LAN", true),
            path(Link::Crossover, "crossover cable", true),
            path(Link::Serial, "null-modem", true),
        ];
        let text = draw(&nodes, &paths);
        let lines: Vec<&str> = text.lines().collect();
        let place = |line: &str, wanted: char| line.chars().position(|c| c == wanted);
        let right = lines[0].chars().count() - "a-longer-name".len() + 1;
        assert_eq!((place(lines[1], '├'), place(lines[1], '┤')), (Some(4), Some(right)), "{text}");
        assert_eq!((place(lines[2], '└'), place(lines[2], '┘')), (Some(4), Some(right)), "{text}");
        assert!(text.contains("all 3 paths"), "{text}");
        assert_eq!(only(&paths), None);
    }

    #[test]
    fn a_lan_without_heartbeats_is_no_path_of_theirs() {
        let nodes = ["one".to_owned(), "two".to_owned()];
        let paths = [path(Link::Lan, "LAN", false), path(Link::Serial, "null-modem", true)];
        let text = draw(&nodes, &paths);
        assert!(text.contains("LAN, no heartbeats") && text.contains("one path only"), "{text}");
        assert_eq!(only(&paths), Some(Link::Serial));
    }
}
