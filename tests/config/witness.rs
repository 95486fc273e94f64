//! `[[witness]]`: voters that own nothing.
use super::*;

/// The documented configuration under `majority`, with these witnesses.
fn with(witnesses: &[&str]) -> String {
    let mut text = TOML.replace("\"assume-dead\"", "\"majority\"");
    for name in witnesses {
        text.push_str(&format!("\n[[witness]]\nname = \"{name}\"\n"));
    }
    text
}

fn loaded(text: &str) -> Loaded {
    Dir::toml(text).1
}

#[test]
fn two_nodes_and_a_witness_are_a_majority() {
    let found = loaded(&with(&["Pico"]));
    let config = good(&found);
    assert_eq!(said(&found), "");
    assert_eq!((config.rule, &config.witnesses[..]), (Rule::Majority, &["pico".to_owned()][..]));
    assert_eq!(config.voters().collect::<Vec<_>>(), ["debian", "pi", "pico"]);
}

#[test]
fn what_is_wrong_with_witnesses_is_said() {
    for (text, message, cure) in [
        (with(&[]), "`majority` with two voters never takes over", "[[witness]]"),
        (with(&["pi"]), "pi is a node", "name of its own"),
        (with(&["pico", "PICO"]), "witness pico is there twice", "once"),
        (with(&["p co"]), "`p co` is no name of a witness", "letters, digits"),
        (with(&["a", "b", "c", "d", "e", "f", "g"]), "9 voters", "remove some"),
        (with(&["pico"]).replace("name = \"pico\"", ""), "this witness has no name", "--name"),
        (
            with(&["pico"]).replace("name = \"pico\"", "nam = \"pico\""),
            "[[witness]] has no key `nam`",
            "`name`",
        ),
        (
            with(&["pico"]).replace("\"majority\"", "\"assume-dead\""),
            "the rule assume-dead asks no witness",
            "majority",
        ),
    ] {
        let loaded = loaded(&text);
        let found = find(&loaded, message);
        assert!(found.is_error() && loaded.config.is_none(), "{message}");
        assert!(found.cure.contains(cure), "wanted `{cure}`:\n{}", said(&loaded));
    }
}

#[test]
fn an_even_number_of_voters_is_no_better_than_one_fewer() {
    let found = loaded(&with(&["pico", "nano"]));
    assert!(good(&found).witnesses.len() == 2);
    let warning = find(&found, "4 voters survive the loss of 1, no more than 3 would");
    assert_eq!(warning.severity, Severity::Warning);
    assert!(good(&loaded(&with(&["a", "b", "c"]))).voters().count() == 5);
}

#[test]
fn nodes_must_agree_on_the_witnesses() {
    let (one, two) = (loaded(&with(&["pico"])), loaded(&with(&["nano"])));
    let (one, two) = (good(&one), good(&two));
    assert_ne!(one.voters_digest(), two.voters_digest());
    assert_ne!(one.digest(), two.digest());
    let lines = differences(one, two);
    assert!(lines[0].contains("witnesses") && lines[0].contains("nano"), "{lines:?}");
    // Their numbers follow from the order.
    let (one, two) = (loaded(&with(&["a", "b", "c"])), loaded(&with(&["c", "a", "b"])));
    assert_ne!(good(&one).voters_digest(), good(&two).voters_digest());
}

#[test]
fn a_written_configuration_has_its_witnesses() {
    let found = loaded(&with(&["pico"]));
    let config = good(&found);
    let again = loaded(&to_toml(config).replace("/etc/latido/keys", "keys"));
    assert_eq!(good(&again).witnesses, config.witnesses);
    assert_eq!(good(&again).digest(), config.digest());
}
