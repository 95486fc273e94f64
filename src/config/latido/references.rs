//! `[references]`, and `probe` of `[quorum]`.
use super::super::Rule;
use super::super::compare::rule_name;
use super::super::diagnostic::Report;
use super::super::references::{RawReferences, Settle, probe_by_default};
use super::table::{Table, keys_of};
use toml::de::DeValue;

/// Reads the references.
pub(super) fn read(document: &Table, report: &mut Report) -> RawReferences {
    let Some(table) = document.table("references", "[references]", report) else {
        return RawReferences::default();
    };
    table.only(keys_of("[references]"), report);
    RawReferences {
        at: Some(table.at("hosts")),
        hosts: table.lists("hosts", report).unwrap_or_default(),
        interval: table.duration("interval", report),
        dead: table.duration("dead", report),
        settle: read_settle(&table, report),
    }
}

fn read_settle(table: &Table, report: &mut Report) -> Settle {
    match table.value("settle").map(|value| (value.value, value)) {
        None => Settle::Usual,
        Some((DeValue::Boolean(false), _)) => Settle::Never,
        Some((DeValue::Boolean(true), value)) => {
            value
                .wrong::<()>("a time such as \"5s\", or false: groups stay where they are", report);
            Settle::Usual
        }
        Some(_) => table.duration("settle", report).map_or(Settle::Usual, Settle::After),
    }
}

/// Whether addresses are probed before they are taken over.
pub(super) fn read_probe(document: &Table, rule: Rule, report: &mut Report) -> bool {
    // What is wrong with the table itself has been reported with its rule.
    let table = document.table("quorum", "[quorum]", &mut Report::default());
    let written =
        table.and_then(|table| Some((table.boolean("probe", report)?, table.at("probe"))));
    match written {
        Some((true, at)) if rule != Rule::AssumeDead => {
            let name = rule_name(rule);
            let message =
                format!("`probe` means nothing with the rule {name}: silence alone takes nothing");
            report.error(at, message, "remove it");
            false
        }
        Some((probe, _)) => probe,
        None => probe_by_default(rule),
    }
}
