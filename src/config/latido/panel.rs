//! `[panel]`, and how a pin is written.
use super::super::Panel;
use super::super::diagnostic::Report;
use super::table::{Table, keys_of};

/// Reads `[panel]`.
pub(super) fn read(document: &Table, report: &mut Report) -> Panel {
    let Some(table) = document.table("panel", "[panel]", report) else { return Panel::default() };
    table.only(keys_of("[panel]"), report);
    let mut read = |key| pin(&table, key, report);
    Panel {
        owner: read("owner"),
        standby: read("standby"),
        alarm: read("alarm"),
        button: read("button"),
    }
}

/// Reads a pin; whether it is there, the machine says.
pub(super) fn pin<'a>(table: &Table<'a>, key: &'a str, report: &mut Report) -> Option<String> {
    let text = table.string(key, report)?;
    let rest = text.value.strip_prefix('!').unwrap_or(&text.value);
    let (chip, line) = rest.rsplit_once(':').unwrap_or(("gpiochip0", rest));
    let odd = |part: &str| {
        part.is_empty() || part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if odd(chip) || odd(line) {
        let cure = "\"gpiochip0:17\", the name of a line, or on a Raspberry Pi \"17\"; with `!` in \
                    front if it is active low";
        report.error(text.at, format!("`{}` is no pin", text.value), cure);
        return None;
    }
    Some(text.value)
}
