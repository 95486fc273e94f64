//! Ethernet addresses as people write them.
use std::fmt;
use std::str::FromStr;

/// The Ethernet address of one machine's interface: neither a group's nor all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Its six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = &'static str;

    /// `52:54:00:12:34:56`, also with `-`. The error is the cure.
    fn from_str(text: &str) -> Result<Mac, &'static str> {
        const FORM: &str = "write six bytes such as \"52:54:00:12:34:56\"; `ip link` shows them";
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            let part = parts.next().ok_or(FORM)?;
            let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            *octet = u8::from_str_radix(part, 16).ok().filter(|_| plain).ok_or(FORM)?;
        }
        if parts.next().is_some() {
            return Err(FORM);
        }
        if octets[0] & 1 != 0 {
            return Err("it is the address of a group: without `peers` everybody is addressed");
        }
        if octets == [0; 6] {
            return Err("all zeros is nobody's; `ip link` shows the address of each interface");
        }
        Ok(Mac(octets))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_ip_link_and_labels_show_them() {
        for text in ["52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF", "52:54:00:AB:cd:ef"] {
            let mac: Mac = text.parse().unwrap_or_else(|cure| panic!("{text}: {cure}"));
            assert_eq!(mac.octets(), [0x52, 0x54, 0, 0xAB, 0xCD, 0xEF]);
            assert_eq!(mac.to_string(), "52:54:00:ab:cd:ef");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_cure() {
        for (text, cure) in [
            ("", "six bytes"),
            ("52:54:00:12:34", "six bytes"),
            ("52:54:00:12:34:56:78", "six bytes"),
            ("52:54:00:12:34:5", "six bytes"),
            ("52:54:00:12:34:+6", "six bytes"),
            ("52:54-00:12:34:56", "six bytes"),
            ("525400123456", "six bytes"),
            ("é2:54:00:12:34:56", "six bytes"),
            ("ff:ff:ff:ff:ff:ff", "without `peers`"),
            ("01:00:5e:00:00:01", "without `peers`"),
            ("00:00:00:00:00:00", "nobody's"),
        ] {
            let refused = text.parse::<Mac>().expect_err(text);
            assert!(refused.contains(cure), "{text}: {refused}");
        }
    }
}
