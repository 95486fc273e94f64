//! Did you mean …?

/// Longest word that is compared, in characters.
const WORD_MAX: usize = 64;

/// The candidate that `word` was probably meant to be. Case does not count; of equals the first.
pub(super) fn suggest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    if word.is_empty() || word.len() > WORD_MAX {
        return None;
    }
    // Costs are doubled, so that a likeness (o and 0) is half a mistake.
    let limit = 2 * (word.len() / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        let cost = distance(&word, &letters);
        if cost <= limit && best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `did you mean …?` with what [`suggest`] finds, or else `otherwise`.
pub(super) fn did_you_mean(word: &str, candidates: &[&str], otherwise: &str) -> String {
    match suggest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => otherwise.to_string(),
    }
}

/// Twice the number of insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).map(|column| 2 * column).collect();
    for row in 1..=a.len() {
        let mut this = vec![2 * row; b.len() + 1];
        for column in 1..=b.len() {
            let (left, right) = (a[row - 1], b[column - 1]);
            let mut cost = (last[column] + 2).min(this[column - 1] + 2);
            cost = cost.min(last[column - 1] + substitution(left, right));
            if row > 1 && column > 1 && left == b[column - 2] && a[row - 2] == right {
                cost = cost.min(before[column - 2] + 2);
            }
            this[column] = cost;
        }
        before = std::mem::replace(&mut last, this);
    }
    last.last().copied().unwrap_or(0)
}

fn substitution(a: char, b: char) -> usize {
    const ALIKE: [(char, char); 7] =
        [('o', '0'), ('l', '1'), ('i', '1'), ('i', 'l'), ('s', '5'), ('b', '8'), ('-', '_')];
    if a == b {
        0
    } else if ALIKE.contains(&(a, b)) || ALIKE.contains(&(b, a)) {
        1
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn finds_what_was_meant() {
        let agents = ["IPaddr", "IPaddr2", "Filesystem", "drbddisk"];
        for (word, candidates, expected) in [
            ("IPadrrs", &agents[..], Some("IPaddr")),
            ("Fliesystem", &agents[..], Some("Filesystem")),
            ("vsftpd", &agents[..], None),
            ("localo", &["local1", "local0", "local2"][..], Some("local0")),
            ("sha", &["crc", "md5", "sha1"][..], Some("sha1")),
            ("Keepalive", &["keepalive", "deadtime"][..], Some("keepalive")),
            ("initial-dead", &["initial_dead"][..], Some("initial_dead")),
            ("", &["a"][..], None),
        ] {
            assert_eq!(suggest(word, candidates.iter().copied()), expected, "{word}");
        }
        assert_eq!(suggest(&"x".repeat(10_000), agents), None);
    }
}
