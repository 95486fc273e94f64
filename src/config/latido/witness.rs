//! The file of `latido witness`: `name`, `[[cluster]]` with `name` and `keys`, and `[[link]]` as
//! in a `latido.toml`.
use super::super::Medium;
use super::super::diagnostic::{At, Report};
use super::super::files;
use super::link;
use super::table::Table;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// The name, the clusters with their key files, and the links.
type Found = (Option<String>, Vec<(String, PathBuf)>, Vec<Medium>);

/// Reads it; `None` if nothing could be made of it, which is then reported.
pub(in super::super) fn read(path: &Path, report: &mut Report) -> Option<Found> {
    let (file, text) = files::text(report, path, "docs/witness.md shows how to write it")?;
    let (document, faults) = DeTable::parse_recoverable(&text);
    for fault in &faults {
        let at = fault.span().map_or(At::file(file), |span| At::span(file, span.start, span.end));
        report.error(at, format!("this is not TOML: {}", fault.message()), "see https://toml.io");
    }
    if !faults.is_empty() {
        return None;
    }
    let document = Table::document(document.get_ref(), file);
    document.only(&["name", "cluster", "link"], report);
    let name = document.string("name", report).map(|name| name.value);
    let mut clusters = Vec::new();
    for table in document.tables("cluster", "[[cluster]]", report) {
        table.only(&["name", "keys"], report);
        for (key, cure) in [
            ("name", "add `name = \"…\"`, as the nodes have it under [cluster]"),
            ("keys", "add `keys = \"/etc/latido/keys\"`, a copy of the nodes' file"),
        ] {
            if !table.has(key) {
                report.error(table.at, format!("this cluster has no `{key}`"), cure);
            }
        }
        let (name, keys) = (table.string("name", report), table.string("keys", report));
        if let (Some(name), Some(keys)) = (name, keys) {
            // A relative path starts at the file, wherever the witness was started.
            let base = path.parent().unwrap_or(Path::new(""));
            clusters.push((name.value, base.join(keys.value)));
        }
    }
    let (links, wires) = link::read(&document, report);
    if let Some(wire) = wires.first() {
        report.error(wire.at, "a heartbeat wire carries no votes", "use a serial line");
    }
    let links = links.into_iter().map(|link| link.value).collect();
    Some((name, clusters, links))
}
