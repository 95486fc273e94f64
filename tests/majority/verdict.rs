//! What may be concluded from answers: how often the address has changed hands.
use latido::lab::record::Answer;
use std::time::Instant;

/// How often the server changed in the order in which one client received.
///
/// This is what a client sees. A datagram that is overtaken on its way would count, too.
pub(crate) fn changes_received<'a>(servers: impl IntoIterator<Item = &'a str>) -> usize {
    let mut servers: Vec<&str> = servers.into_iter().collect();
    servers.dedup();
    servers.len().saturating_sub(1)
}

/// How often the server certainly changed, whoever asked. A request that was sent before somebody
/// had an answer of the present server may have been answered by the one before it; one that was
/// sent after that may not. So two servers at a time show as more changes than there were.
pub(crate) fn changes_certain(mut answers: Vec<Answer>) -> usize {
    answers.sort_by_key(|answer| answer.at);
    let mut present: Option<(String, Instant)> = None;
    let mut changes = 0;
    for answer in answers {
        match &present {
            Some((server, _)) if *server == answer.server => {}
            Some((_, since)) if answer.asked < *since => {}
            before => {
                changes += usize::from(before.is_some());
                present = Some((answer.server, answer.at));
            }
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn answers(all: &[(u64, u64, &str)]) -> Vec<Answer> {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let answer = |one: &(u64, u64, &str)| Answer {
            asked: at(one.0),
            at: at(one.1),
            server: one.2.into(),
        };
        all.iter().map(answer).collect()
    }

    #[test]
    fn a_takeover_is_one_change() {
        let clean = answers(&[(0, 1, "pi"), (1, 2, "pi"), (50, 51, "laptop"), (52, 53, "laptop")]);
        assert_eq!(changes_certain(clean.clone()), 1);
        assert_eq!(changes_received(clean.iter().map(|one| one.server.as_str())), 1);
    }

    #[test]
    fn an_answer_that_was_on_its_way_is_no_second_owner_but_it_is_seen() {
        let late = answers(&[(0, 1, "pi"), (50, 51, "laptop"), (10, 52, "pi"), (53, 54, "laptop")]);
        assert_eq!(changes_received(late.iter().map(|one| one.server.as_str())), 3);
        assert_eq!(changes_certain(late), 1);
    }

    #[test]
    fn one_answer_of_the_old_owner_after_the_new_ones_is_found() {
        let both = answers(&[(0, 1, "pi"), (50, 51, "laptop"), (52, 53, "pi"), (54, 55, "laptop")]);
        assert_eq!(changes_certain(both), 3);
        let last = answers(&[(0, 1, "pi"), (50, 51, "laptop"), (51, 52, "pi")]);
        assert_eq!(changes_certain(last), 2);
    }
}
