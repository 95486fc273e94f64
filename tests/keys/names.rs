//! A peer with the right key and another cluster name, and one with a wrong key.
use crate::CONFIG;
use crate::world::Scene;

/// Both nodes run; laptop's configuration and keys are changed.
fn at_odds(change: impl Fn(String) -> String, key: &str) -> Scene {
    let scene = Scene::pair();
    let config = CONFIG.replace("initial_dead = \"30s\"", "initial_dead = \"3s\"");
    scene.toml(&config);
    scene.write("laptop", "latido.toml", &change(config));
    scene.write("laptop", "keys", &format!("use 1\n1 {}\n", key.repeat(32)));
    scene.start_all();
    scene
}

fn problems(scene: &Scene, node: &str) -> String {
    let (_, text) = scene.latido(node, &["status"]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_same_key_under_another_name_is_named() {
    for (name, words) in [
        ("home", "laptop has the right key, but calls its cluster \"home\""),
        ("office", "laptop has the right key, but calls its cluster by another name"),
    ] {
        let scene = at_odds(|text| text.replace("\"Home\"", &format!("\"{name}\"")), "5a");
        let line = scene.logged("pi", 0, &[words]);
        assert!(line.contains("this node calls it \"Home\""), "{line}");
        assert!(line.contains("write the same name on both"), "the cure: {line}");
        scene.wait_status("pi", "it is told", |status| status["stranger"].as_str().map(drop));
        let text = problems(&scene, "pi");
        assert!(text.contains(words), "{text}");
        assert_eq!(scene.status("pi")["counters"]["unsealed"], 0);
    }
}

#[test]
fn a_wrong_key_and_another_clusters_stranger_get_no_such_hint() {
    // The right name and a wrong key: that is said, and nothing of names.
    let scene = at_odds(|text| text, "77");
    scene.logged("pi", 0, &["frames of node laptop", "our key does not open them"]);
    let text = problems(&scene, "pi");
    assert!(text.contains("our key does not open") && !text.contains("right key"), "{text}");
    // Another name and another key: a stranger, of whom a few frames are counted and nothing said.
    let scene = at_odds(|text| text.replace("\"Home\"", "\"office\""), "77");
    scene.wait_status("pi", "some of its frames are let through", |status| {
        (status["counters"]["foreign"].as_u64()? > 20).then_some(())
    });
    let (log, text) = (scene.log("pi"), problems(&scene, "pi"));
    assert!(!log.contains("right key") && !log.contains("our key"), "{log}");
    assert!(!text.contains("right key") && !text.contains("our key"), "{text}");
    let counters = &scene.status("pi")["counters"];
    let (let_through, sent) = (counters["foreign"].as_u64(), counters["sent"].as_u64());
    let (Some(let_through), Some(sent)) = (let_through, sent) else { panic!("{counters}") };
    assert!(let_through < sent, "of two links' frames few: {counters}");
}
