//! The commands: real outcomes, and refusals with their reason.
use crate::two_groups;
use crate::world::{Scene, group_of, node_of};
use latido::lab::wait;
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Asserts that a command was refused with exit code 1 and all these words.
fn refused(scene: &Scene, node: &str, args: &[&str], words: &[&str]) {
    let (code, text) = scene.latido(node, args);
    assert_eq!(code, 1, "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} says {text:?}, which lacks {word:?}");
    }
}

/// Asserts that a command was carried out.
fn done(scene: &Scene, node: &str, args: &[&str], words: &str) {
    let (code, text) = scene.latido(node, args);
    assert_eq!(code, 0, "{args:?}: {text}");
    assert!(text.contains(words), "{args:?} says {text:?}, which lacks {words:?}");
}

/// Owner and state of a group as a node sees it at this moment, without any waiting.
fn now(scene: &Scene, node: &str, group: &str) -> (String, String) {
    let status = scene.status(node);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = group_of(&status, group).unwrap_or(&Value::Null);
    (text(&group["owner"]), text(&group["state"]))
}

fn runs_on(node: &str) -> (String, String) {
    (node.to_owned(), "running".to_owned())
}

#[test]
fn status_says_everything() {
    let scene = two_groups("10s");
    scene.wait_status("pi", "a round trip on every link", |status| {
        let links = node_of(status, "laptop")?["links"].as_array()?;
        let fine = |link: &Value| {
            link["state"] == "up" && link["rtt_us"].as_u64().is_some_and(|rtt| rtt < 10_000_000)
        };
        (links.len() == 3 && links.iter().all(fine)).then_some(())
    });
    let (code, text) = scene.latido("pi", &["status", "--json"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one line for programs");
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status["schema"], 1);
    assert_eq!(status["node"], "pi");
    assert_eq!(status["quorum"]["rule"], "assume-dead");
    assert_eq!(status["quorum"]["safe"], false);
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(2));
    assert_eq!(node_of(&status, "pi").expect("ourselves")["me"], true);
    let laptop = node_of(&status, "laptop").expect("the peer");
    assert_eq!(laptop["state"], "alive");
    for link in laptop["links"].as_array().expect("links") {
        assert!(link["name"].is_string() && link["state"] == "up" && link["rtt_us"].is_u64());
    }
    let web = group_of(&status, "web").expect("the group");
    assert_eq!((&web["owner"], &web["state"]), (&"pi".into(), &"running".into()));
    assert_eq!(web["term"]["node"], "pi");
    assert!(web["term"]["count"].as_u64().is_some_and(|count| count > 0));
    assert_eq!(web["resources"][0]["kind"], "address");

    let (code, text) = scene.latido("pi", &["status"]);
    assert_eq!(code, 0, "{text}");
    for word in ["pi", "laptop", "alive", "web", "mail", "running", "NOT safe", "eth0"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    assert!(!text.contains("PROBLEMS"), "all is well: {text}");
}

#[test]
fn without_a_daemon_commands_say_so() {
    let scene = Scene::pair();
    for command in ["status", "standby", "takeover", "failback", "reload"] {
        let (code, text) = scene.latido("pi", &[command]);
        assert_eq!(code, 3, "{command}: {text}");
        assert!(text.contains("latido"), "{command}: {text}");
    }
    done(&scene, "pi", &["stop"], "nothing to do");
}

#[test]
fn a_node_in_standby_takes_nothing_until_failback() {
    let scene = two_groups("10s");
    done(&scene, "pi", &["standby"], "web handed over to laptop");
    assert_eq!(now(&scene, "laptop", "web"), runs_on("laptop"));
    assert_eq!(scene.holders(super::WEB), ["laptop"]);
    scene.wait_status("laptop", "pi in standby", |status| {
        (node_of(status, "pi")?["standby"] == true).then_some(())
    });
    let (_, text) = scene.latido("pi", &["status"]);
    assert!(text.contains("standby") && text.contains("latido failback"), "{text}");
    // Nobody is left to take what laptop has.
    refused(&scene, "laptop", &["standby"], &["no other node can take", "latido status"]);
    done(&scene, "pi", &["failback"], "web runs on pi");
    assert_eq!(now(&scene, "pi", "web"), runs_on("pi"));
    assert_eq!(now(&scene, "pi", "mail"), runs_on("laptop"));
    assert_eq!(scene.holders(super::WEB), ["pi"]);
}

#[test]
fn one_group_moves_by_hand_and_stays() {
    let scene = two_groups("10s");
    done(&scene, "pi", &["standby", "--group", "web"], "web handed over to laptop");
    assert_eq!(now(&scene, "laptop", "web"), runs_on("laptop"));
    // failback = "auto" with a delay of 200 ms must not undo what a person did.
    let away = || (scene.holders(super::WEB) != ["laptop"]).then(|| scene.holders(super::WEB));
    wait::never(Duration::from_secs(1), "web moves by itself", away).unwrap();
    // pi stands back from it until it says otherwise itself.
    let words = ["no node that web prefers", "`latido failback` there"];
    refused(&scene, "laptop", &["failback", "--group", "web"], &words);
    done(&scene, "pi", &["failback", "--group", "web"], "web runs on pi");
    assert_eq!(now(&scene, "laptop", "web"), runs_on("pi"));

    done(&scene, "pi", &["takeover", "--group", "mail"], "mail runs on pi");
    assert_eq!(now(&scene, "pi", "mail"), runs_on("pi"));
    let away = || (scene.holders(super::MAIL) != ["pi"]).then(|| scene.holders(super::MAIL));
    wait::never(Duration::from_secs(1), "mail moves by itself", away).unwrap();
    // Again: it is there already.
    done(&scene, "pi", &["takeover", "--group", "mail"], "mail runs on pi");
    done(&scene, "pi", &["failback", "--group", "mail"], "mail runs on laptop");
    assert_eq!(now(&scene, "pi", "mail"), runs_on("laptop"));
    assert_eq!(now(&scene, "pi", "web"), runs_on("pi"), "the other group was not touched");
    let both: Duration = [super::WEB, super::MAIL]
        .map(|address| scene.lab.ownership().held(address, scene.begun, Instant::now()).both)
        .iter()
        .sum();
    assert_eq!(both, Duration::ZERO);
}

#[test]
fn refused_commands_say_why_and_change_nothing() {
    let scene = two_groups("10s");
    for command in ["standby", "takeover", "failback"] {
        let words = ["there is no group ftp", "web, mail"];
        refused(&scene, "pi", &[command, "--group", "ftp"], &words);
    }
    done(&scene, "laptop", &["stop"], "laptop has ended");
    assert_eq!(now(&scene, "pi", "mail"), runs_on("pi"), "stop waited for the handover");
    refused(&scene, "pi", &["standby"], &["no other node can take", "must be alive"]);
    refused(&scene, "pi", &["standby", "--group", "mail"], &["no other node can take mail"]);
    refused(&scene, "pi", &["failback", "--group", "mail"], &["mail", "latido status"]);
    assert_eq!(now(&scene, "pi", "web"), runs_on("pi"));
    assert_eq!(now(&scene, "pi", "mail"), runs_on("pi"));
    assert_eq!(
        node_of(&scene.status("pi"), "pi").expect("it")["standby"],
        false,
        "a refusal is no standby"
    );
    assert_eq!(scene.holders(super::WEB), ["pi"]);
    // The preferred node returns: its group follows by itself.
    scene.start("laptop");
    scene.settled("mail", "laptop");
}

#[test]
fn nothing_is_handed_to_a_node_that_has_just_fallen_silent() {
    let scene = two_groups("10s");
    let since = Instant::now();
    scene.lab.node("laptop").power_cut().expect("it was on");
    scene.wait_status("pi", "laptop is late", |status| {
        (node_of(status, "laptop")?["state"] == "late").then_some(())
    });
    refused(&scene, "pi", &["standby"], &["no other node can take web", "not late"]);
    refused(&scene, "pi", &["standby", "--group", "web"], &["no other node can take web"]);
    assert_eq!(node_of(&scene.status("pi"), "laptop").expect("it")["state"], "late", "not dead");
    // Long after its silence has become death it is the same.
    scene.settled("mail", "pi");
    let (_, text) = scene.latido("pi", &["status"]);
    assert!(text.contains("PROBLEMS") && text.contains("laptop is dead"), "{text}");
    refused(&scene, "pi", &["standby"], &["no other node can take"]);
    let held = scene.lab.ownership().held(super::WEB, since, Instant::now());
    assert_eq!((held.nobody, held.arrivals), (Duration::ZERO, 0), "{held:?}");
}

#[test]
fn latido_run_ends_in_order_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let scene = two_groups("10s");
        done(&scene, "pi", &["stop"], "pi has ended");
        let [option, path] = scene.config_args("pi");
        std::thread::scope(|scope| {
            let running = scope.spawn(|| scene.latido("pi", &["run", &option, &path]));
            scene.settled("web", "pi");
            scene.signal("pi", signal);
            let (code, text) = running.join().expect("no panic");
            assert_eq!(code, 0, "{text}");
            assert!(text.contains("asked to end"), "{text}");
        });
        scene.wait_for_end("pi");
        assert_eq!(scene.holders(super::WEB), ["laptop"]);
    }
}

#[test]
fn a_starting_node_refuses_until_it_has_heard_its_peer() {
    let scene = Scene::pair();
    scene.toml(&super::config("10s"));
    scene.recorder("init.d", "httpd");
    scene.start("pi");
    scene.wait_status("pi", "it runs", |status| (status["ready"] == false).then_some(()));
    refused(&scene, "pi", &["takeover"], &["has just started", "initial dead"]);
    assert!(scene.holders(super::WEB).is_empty());
    scene.start("laptop");
    scene.settled("web", "pi");
    scene.settled("mail", "laptop");
}

#[test]
fn stop_hands_over_and_leaves_nothing() {
    let scene = two_groups("20s");
    let begun = Instant::now();
    done(&scene, "pi", &["stop"], "pi has ended");
    assert!(begun.elapsed() < Duration::from_secs(10), "it did not wait for the dead time");
    scene.wait_for_end("pi");
    scene.settled("web", "laptop");
    assert_eq!(scene.holders(super::WEB), ["laptop"]);
    scene.logged("laptop", 0, &["node pi said goodbye"]);
    assert_eq!(scene.latido("pi", &["status"]).0, 3);
    done(&scene, "pi", &["stop"], "nothing to do");
    // The last one leaves nothing either.
    done(&scene, "laptop", &["stop"], "laptop has ended");
    scene.wait_for_end("laptop");
    for address in [super::WEB, super::MAIL] {
        scene.wait(format!("{address} to be gone everywhere"), || {
            scene.holders(address).is_empty().then_some(())
        });
    }
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let scene = two_groups("10s");
    let config = scene.lab.node("pi").dir().join("latido.toml").display().to_string();
    let (code, text) = scene.latido("pi", &["run", "--config", &config]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("another latido runs on"), "{text}");
    assert_eq!(scene.holders(super::WEB), ["pi"], "what the first one runs stays");
    assert_eq!(now(&scene, "laptop", "web"), runs_on("pi"));
}
