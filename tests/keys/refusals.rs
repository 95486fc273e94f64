//! The wrong order: what would lock a node out changes nothing, and says what comes first.
use crate::world::{Scene, fixture};
use crate::{key, keys_of, pair, refused};
use std::path::Path;

fn said(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
}

#[test]
fn what_would_lock_a_node_out_is_refused_with_what_comes_first() {
    let scene = pair();
    let before = keys_of(&scene, "pi");
    said(&refused(&scene, "pi", &["use", "2"]), &["no key 2", "latido key add"]);
    said(&refused(&scene, "pi", &["retire", "1"]), &["key 1 is in use", "key use"]);
    said(&refused(&scene, "pi", &["retire", "7"]), &["no key 7"]);
    assert_eq!(keys_of(&scene, "pi"), before);

    let shown = key(&scene, "pi", &["add", "--show"]);
    let line = keys_of(&scene, "pi").lines().last().expect("a line").to_owned();
    said(&shown, &[&line]);
    let added = keys_of(&scene, "pi");
    said(&refused(&scene, "pi", &["use", "2"]), &["laptop did not open", "--without laptop"]);
    // By hand it is no better.
    scene.write("pi", "keys", &added.replace("use 1", "use 2"));
    let (code, text) = scene.latido("pi", &["reload"]);
    assert_eq!(code, 1, "{text}");
    said(&text, &["not known that laptop has key 2", "latido key use 2"]);
    scene.write("pi", "keys", &added);
    // Another key of the same number is not the key.
    scene.write("laptop", "keys", &added.replace(&line[2..], &"77".repeat(32)));
    assert_eq!(scene.latido("laptop", &["reload"]).0, 0);
    said(&refused(&scene, "pi", &["use", "2"]), &["laptop did not open"]);
    let copy = scene.lab.node("pi").dir().join("keys").display().to_string();
    said(&refused(&scene, "laptop", &["add", "--from", &copy]), &["another one", "key retire 2"]);

    // In order: laptop gets it, pi uses it; the old one is not retired while laptop uses it.
    scene.write("laptop", "keys", &added);
    let (code, text) = scene.latido("laptop", &["reload"]);
    assert_eq!(code, 0, "{text}");
    key(&scene, "pi", &["use", "2"]);
    let text = refused(&scene, "pi", &["retire", "1"]);
    said(&text, &["laptop still seals with key 1", "latido key use 2"]);
    scene.write("pi", "keys", &format!("use 2\n{line}\n"));
    let (code, text) = scene.latido("pi", &["reload"]);
    assert_eq!(code, 1, "{text}");
    said(&text, &["laptop still seals with key 1"]);
    scene.write("pi", "keys", &added.replace("use 1", "use 2"));
    // Nobody knows what a silent node has, unless somebody vouches for it.
    key(&scene, "laptop", &["use", "2"]);
    let (code, text) = scene.latido("laptop", &["stop"]);
    assert_eq!(code, 0, "{text}");
    said(&refused(&scene, "pi", &["retire", "1"]), &["laptop is not heard", "--without laptop"]);
    key(&scene, "pi", &["retire", "1", "--without", "laptop"]);
    let list = key(&scene, "pi", &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(list.trim()).expect("JSON");
    assert_eq!((&list["keys"][0]["key"], &list["keys"][1]), (&2.into(), &serde_json::Value::Null));
    for node in ["pi", "laptop"] {
        let log = scene.log(node);
        assert!(!log.contains("is dead"), "{log}");
        assert!(!log.contains(&line[2..]), "no secret in the log");
    }
    // Without a daemon nothing is known at all.
    let config = scene.config_args("laptop");
    let args = ["key", "use", "1", &config[0], &config[1]];
    assert_eq!(scene.latido("laptop", &args).0, 3);
    key(&scene, "laptop", &[&args[1..], &["--offline"]].concat());
    assert!(keys_of(&scene, "laptop").starts_with("use 1"));
}

#[test]
fn heartbeats_authkeys_are_rotated_in_place_and_a_checksum_is_no_key() {
    let scene = Scene::pair();
    let short = |file: &str, text: String| match file {
        "ha.cf" => "keepalive 20ms\nwarntime 400ms\ndeadtime 2\ninitdead 20\nbcast eth0 eth1\n\
                    auto_failback on\nnode pi laptop\n"
            .to_owned(),
        "haresources" => "pi 10.77.0.100\n".to_owned(),
        "authkeys" => "# both\nauth 1\n1 sha1 a-secret-of-some-length\n".to_owned(),
        _ => text,
    };
    for node in ["pi", "laptop"] {
        scene.ha_dir(node, &fixture("web-two-routers"), short);
    }
    scene.start_all();
    scene.met();
    scene.settled("10.77.0.100", "pi");
    let pid = scene.status("pi")["pid"].clone();
    let file = |node: &str| scene.lab.node(node).dir().join("ha.d/authkeys");
    let out = scene.lab.node("pi").dir().join("new-key");
    key(&scene, "pi", &["add", "--out", &out.display().to_string()]);
    key(&scene, "laptop", &["add", "--from", &out.display().to_string()]);
    for step in [["use", "2"], ["retire", "1"]] {
        for node in ["pi", "laptop"] {
            if step[0] == "retire" {
                let other = if node == "pi" { "laptop" } else { "pi" };
                scene.wait_status(node, "the other uses key 2", |status| {
                    (crate::world::node_of(status, other)?["key"] == 2).then_some(())
                });
            }
            key(&scene, node, &step);
        }
    }
    let text = |path: &Path| std::fs::read_to_string(path).expect("a file");
    let expected = format!("# both\nauth 2\n{}", text(&out));
    assert_eq!([text(&file("pi")), text(&file("laptop"))], [expected.clone(), expected]);
    assert_eq!(scene.status("pi")["pid"], pid);
    for node in ["pi", "laptop"] {
        assert!(!scene.log(node).contains("is late"), "{}", scene.log(node));
    }
    // A checksum has no secret to rotate.
    scene.write("pi", "ha.d/authkeys", "auth 1\n1 crc\n");
    said(&refused(&scene, "pi", &["add"]), &["method crc", "1 sha1 SECRET"]);
}
