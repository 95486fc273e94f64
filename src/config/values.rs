//! The syntax of single values, the same for both kinds of configuration.
use super::diagnostic::{At, Report};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

/// Longest time that can be written: ten years.
const DURATION_MAX_US: u128 = 10 * 366 * 86_400 * 1_000_000;
/// Longest name of a network interface, in bytes (IFNAMSIZ less the final zero).
pub(super) const INTERFACE_MAX: usize = 15;
/// Longest name of a node, in bytes (HOST_NAME_MAX).
pub(super) const NODE_MAX: usize = 64;
/// Syslog facilities by name, syslog(3).
pub(super) const FACILITIES: [&str; 20] = [
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7", "daemon",
    "user", "auth", "authpriv", "cron", "ftp", "kern", "lpr", "mail", "news", "syslog", "uucp",
];

/// A number with a unit: `100ms`, `1.5s`, `2m`, `1h`, `500us`.
///
/// Without a unit the number counts seconds if `bare_seconds`, else it is an error. The error is
/// the cure.
pub(super) fn duration(text: &str, bare_seconds: bool) -> Result<Duration, String> {
    const UNITS: &str = "write a number and a unit: `100ms`, `1s`, `1.5s`, `2m` or `1h`";
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim().to_ascii_lowercase());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let readable = whole.len() + fraction.len() > 0 && whole.len() <= 15 && fraction.len() <= 9;
    if !readable || fraction.contains('.') {
        return Err(UNITS.to_string());
    }
    let unit_us: u128 = match unit.as_str() {
        "us" | "usec" | "µs" => 1,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
        "h" | "hour" | "hours" => 3_600_000_000,
        "" if bare_seconds => 1_000_000,
        "" => return Err(format!("a time needs its unit: \"{text}s\" or \"{text}ms\"")),
        _ => return Err(UNITS.to_string()),
    };
    let parse = |digits: &str| digits.parse::<u128>().unwrap_or(0);
    let scale = 10u128.pow(fraction.len() as u32);
    let micros = (parse(whole) * scale + parse(fraction)) * unit_us / scale;
    if micros > DURATION_MAX_US {
        return Err("at most ten years".to_string());
    }
    Ok(Duration::from_micros(micros as u64))
}

/// A duration as `duration` reads it, in the largest unit that is exact.
pub fn format_duration(span: Duration) -> String {
    let micros = span.as_micros();
    for (unit, factor) in [("h", 3_600_000_000), ("m", 60_000_000)] {
        if micros >= factor && micros.is_multiple_of(factor) {
            return format!("{}{unit}", micros / factor);
        }
    }
    match micros {
        0 => "0s".to_string(),
        1_000_000.. => format!("{}s", decimal(micros, 6)),
        1_000.. => format!("{}ms", decimal(micros, 3)),
        _ => format!("{micros}us"),
    }
}

/// `value / 10^places` without trailing zeros.
fn decimal(value: u128, places: u32) -> String {
    let scale = 10u128.pow(places);
    let text = format!("{}.{:0width$}", value / scale, value % scale, width = places as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Checks an interface name as the kernel does, and a little more. The error is the cure.
pub(super) fn interface(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("name an interface, such as `eth0`".to_string());
    }
    if let Some((device, _)) = name.split_once(':') {
        return Err(format!("`{name}` is an alias of an address, not an interface: `{device}`"));
    }
    if name.len() > INTERFACE_MAX {
        let lists = "`ip link` lists them";
        return Err(format!("interface names have at most {INTERFACE_MAX} bytes; {lists}"));
    }
    let odd = |c: char| c == '/' || c == '"' || c.is_whitespace() || c.is_control();
    if name == "." || name == ".." || name.contains(odd) {
        return Err("interface names have no blanks and no `/`; `ip link` lists them".to_string());
    }
    Ok(())
}

/// Checks a node name. The error is the cure.
pub(super) fn node_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    if name.is_empty() || name.len() > NODE_MAX {
        return Err(format!("a node name has 1 to {NODE_MAX} bytes, as `uname -n` prints it"));
    }
    if !name.chars().all(plain) {
        return Err("a node name consists of letters, digits, `-`, `_` and `.`, as `uname -n` \
                    prints it; patterns are not understood: write every name"
            .to_string());
    }
    Ok(())
}

/// Checks the name of a peer of a unicast link: an address or a host name. The error is the cure.
pub(super) fn peer(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let numbers = name.chars().all(|c| c.is_ascii_digit() || c == '.');
    if name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if numbers || name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
        return Err("write an address such as `192.168.0.21`, or a host name".to_string());
    }
    Ok(())
}

/// Whether it is an IPv4 address, not a name.
pub(super) fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

/// A prefix length for `address`, also as a netmask (`255.255.255.0`). The error is the cure.
pub(super) fn prefix(text: &str, address: IpAddr) -> Result<u8, String> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    if let (Ok(mask), true) = (text.parse::<Ipv4Addr>(), address.is_ipv4()) {
        let bits = u32::from(mask);
        if bits != 0 && bits.leading_ones() + bits.trailing_zeros() == 32 {
            return Ok(bits.leading_ones() as u8);
        }
    }
    match text.parse::<u8>() {
        Ok(bits) if (1..=most).contains(&bits) && text.len() <= 3 => Ok(bits),
        _ => {
            let usual = if address.is_ipv4() { 24 } else { 64 };
            Err(format!("a prefix length is a number from 1 to {most}: `{address}/{usual}`"))
        }
    }
}

/// First and last address of a machine in the network of an IPv4 address that can have some.
pub(super) fn hosts(address: IpAddr, prefix: Option<u8>) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (IpAddr::V4(v4), Some(bits @ 1..=30)) = (address, prefix) else { return None };
    if v4.is_unspecified() || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast() {
        return None;
    }
    let mask = u32::MAX >> bits;
    let network = u32::from(v4) & !mask;
    Some(((network + 1).into(), (network + mask - 1).into()))
}

/// Warns if the directory of a log file is not there.
pub(super) fn directory_of_log(path: &str, at: At, report: &mut Report) {
    let dir = Path::new(path).parent().unwrap_or(Path::new("/"));
    if path.starts_with('/') && !dir.is_dir() {
        let message = format!("there is no directory {} on this machine", dir.display());
        report.warning(
            at,
            message,
            format!("mkdir -p {}: without it nothing is written", dir.display()),
        );
    }
}

/// Says what makes `address` useless as an address that moves; `None` if nothing does.
pub(super) fn unusable(address: IpAddr, prefix: Option<u8>) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("is no address of a machine");
    }
    if address.is_loopback() {
        return Some("is a loopback address: no client can reach it");
    }
    if address.is_multicast() {
        return Some("is a multicast address: it cannot belong to one machine");
    }
    if let (IpAddr::V4(v4), bits) = (address, prefix.unwrap_or(32)) {
        if v4.is_broadcast() {
            return Some("is the broadcast address");
        }
        let host_mask = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        let host = u32::from(v4) & host_mask;
        // RFC 3021: a /31 has neither a network nor a broadcast address.
        if bits <= 30 && host == 0 {
            return Some("is the address of the network itself");
        }
        if bits <= 30 && host == host_mask {
            return Some("is the broadcast address of its network");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, micros) in [
            ("100ms", 100_000),
            ("1s", 1_000_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            (".5s", 500_000),
            ("500 us", 500),
            ("0s", 0),
            ("2 MIN", 120_000_000),
        ] {
            assert_eq!(duration(text, false), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in
            ["", "s", ".", "1.2.3s", "-1s", "1d", "1e3s", "99999999999999999999s", "9999999h"]
        {
            assert!(duration(text, false).is_err(), "{text}");
        }
        assert_eq!(duration("2", true), Ok(Duration::from_secs(2)));
        assert!(duration("2", false).unwrap_err().contains("\"2s\" or \"2ms\""));
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for micros in [0, 1, 999, 1_000, 1_001, 100_000, 1_500_000, 60_000_000, 90_000_001] {
            let span = Duration::from_micros(micros);
            assert_eq!(duration(&format_duration(span), false), Ok(span));
        }
        assert_eq!(format_duration(Duration::from_secs(120)), "2m");
        assert_eq!(format_duration(Duration::from_millis(2500)), "2.5s");
    }

    #[test]
    fn prefixes() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(prefix("24", v4), Ok(24));
        assert_eq!(prefix("255.255.255.0", v4), Ok(24));
        for text in ["0", "33", "255.0.255.0", "0.0.0.0", "x", "", "+24x"] {
            assert!(prefix(text, v4).is_err(), "{text}");
        }
        assert_eq!(prefix("128", IpAddr::from([0u16; 8])), Ok(128));
    }

    #[test]
    fn addresses_that_cannot_move() {
        for (text, bits, useless) in [
            ("192.168.0.20", Some(24), false),
            ("192.168.0.0", Some(24), true),
            ("192.168.0.255", Some(24), true),
            ("192.168.0.255", None, false),
            ("10.0.0.0", Some(31), false),
            ("127.0.0.1", None, true),
            ("0.0.0.0", None, true),
            ("224.0.0.1", None, true),
            ("255.255.255.255", None, true),
            ("::1", None, true),
            ("2001:db8::1", Some(64), false),
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(unusable(address, bits).is_some(), useless, "{text}");
        }
    }

    #[test]
    fn interface_names() {
        for name in ["eth0", "enp0s31f6", "br-lan", "eth0.100"] {
            assert_eq!(interface(name), Ok(()), "{name}");
        }
        for name in ["", "a/b", "eth 0", "sixteen-bytes-xx", "..", "eth0:0"] {
            assert!(interface(name).is_err(), "{name}");
        }
    }
}
