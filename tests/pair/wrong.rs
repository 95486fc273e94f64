//! Configurations that are wrong, and services that are not there.
use crate::world::{Scene, fixture, group_of, run};
use crate::{MAIL, WEB, config};
use std::path::Path;

/// What is wrong in a fixture: severity, file with line, what is said, and the cure.
type Complaint = (&'static str, &'static str, &'static str, &'static str);

const MISTYPED: &[Complaint] = &[
    ("error", "haresources:1:", "there is no agent `IPadrrs`", "did you mean `IPaddr`?"),
    ("error", "haresources:1:", "`vsftpd`", "separate resources with a blank"),
];
const SLIDES: &[Complaint] = &[
    ("error", "authkeys:2:", "there is no method `sha`", "did you mean `sha1`?"),
    ("warning", "authkeys:3:", "letters outside ASCII", "copy the file"),
];
const LOCALO: &[Complaint] =
    &[("warning", "ha.cf:3:", "no syslog facility `localo`", "did you mean `local0`?")];
const UDP: &[Complaint] =
    &[("warning", "ha.cf:8:", "the same link as in line 5", "remove this line")];

/// The diagnostics of an output: each begins with its severity and ends at an empty line.
fn diagnostics(text: &str) -> Vec<&str> {
    let is_one = |part: &&str| part.starts_with("error") || part.starts_with("warning");
    text.split("\n\n").map(str::trim_start).filter(is_one).collect()
}

fn assert_said(complaints: &[Complaint], text: &str) {
    for (severity, place, what, cure) in complaints {
        let fits = |one: &&str| {
            one.starts_with(severity)
                && [place, what, cure].iter().all(|words| one.contains(**words))
        };
        let count = diagnostics(text).into_iter().filter(fits).count();
        assert_eq!(count, 1, "{severity} at {place}: {what}, {cure}: said {count} times in {text}");
    }
    let errors = diagnostics(text).iter().filter(|one| one.starts_with("error")).count();
    let expected = complaints.iter().filter(|(severity, ..)| *severity == "error").count();
    assert_eq!(errors, expected, "{text}");
}

#[test]
fn each_mistake_is_named_once_with_its_cure() {
    let scene = Scene::pair();
    for (folder, complaints) in [
        ("pi-and-laptop-mistyped", MISTYPED),
        ("web-two-routers-slides", SLIDES),
        ("web-mail-dns", LOCALO),
        ("web-two-vms/master", UDP),
    ] {
        scene.ha_dir("pi", &fixture(folder), |_, text| text);
        let dir = scene.lab.node("pi").dir().join("ha.d").display().to_string();
        let (code, text, _) = run(&["check", "--ha-dir", &dir]);
        let wrong = complaints.iter().any(|(severity, ..)| *severity == "error");
        assert_eq!(code, i32::from(wrong), "{folder}: {text}");
        assert_said(complaints, &text);
        let (code, json, _) = run(&["check", "--json", "--ha-dir", &dir]);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((code, &json["ok"]), (i32::from(wrong), &(!wrong).into()));
        if wrong {
            // The daemon says the same and does not start.
            let (code, text) = scene.latido("pi", &["run", "--ha-dir", &dir]);
            assert_eq!(code, 1, "{folder}: {text}");
            assert_said(complaints, &text);
            assert_eq!(scene.latido("pi", &["status"]).0, 3);
            assert_ne!(run(&["migrate", "--ha-dir", &dir]).0, 0);
        }
    }
}

#[test]
fn silently_strict_and_silently_lax_lines_are_understood_or_refused() {
    let scene = Scene::pair();
    let edited = |from: &'static str, to: &'static str| {
        let good = fixture("pi-and-laptop");
        scene.ha_dir("pi", &good, |file, text| match file {
            "ha.cf" => text.replace(from, to),
            _ => text,
        });
        let dir = scene.lab.node("pi").dir().join("ha.d").display().to_string();
        let (code, text, _) = run(&["check", "--ha-dir", &dir]);
        (code, text)
    };
    let (code, text) = edited("keepalive 2", "keepalive 1s");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("a heartbeat every 1s"), "{text}");
    let (code, text) = edited("udpport 694", "udpport 99999");
    assert_eq!(code, 1, "{text}");
    assert_said(&[("error", "ha.cf:6:", "99999", "")], &text);
    // One mistake is one error, not another one for what follows from it.
    let (code, text) = edited("deadtime 30", "deadtime thirty");
    assert_eq!(code, 1, "{text}");
    assert_said(&[("error", "ha.cf:3:", "`deadtime thirty` is not a time", "")], &text);
}

#[test]
fn what_is_not_there_is_said() {
    let scene = Scene::pair();
    let dir = scene.lab.node("pi").dir().join("nothing").display().to_string();
    for args in [["run", "--ha-dir"], ["run", "--config"]] {
        let (code, text) = scene.latido("pi", &[args[0], args[1], &dir]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("nothing") && text.contains("no such file"), "{text}");
    }
    // A node that the configuration does not name.
    scene.toml(&config("10s").replace("\"pi\"", "\"debian\""));
    let [option, path] = scene.config_args("pi");
    let (code, text) = scene.latido("pi", &["run", &option, &path]);
    assert_eq!(code, 1, "{text}");
    for words in ["pi", "debian, laptop", "--node"] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
}

/// Lays a node's own `init.d` over the machine's, for this node alone.
fn own_init_d(scene: &Scene, node: &str) {
    assert!(Path::new("/etc/init.d").is_dir(), "this test needs a directory /etc/init.d");
    let node = scene.lab.node(node);
    let dir = node.dir().join("init.d");
    std::fs::create_dir_all(&dir).expect("a directory");
    let command = ["mount", "--bind", &dir.display().to_string(), "/etc/init.d"];
    let (exit, text) = node.run(command, crate::world::SOON).expect("mount runs");
    assert_eq!(exit, latido::lab::Exit::Code(0), "{text}");
}

#[test]
fn without_systemd_a_service_is_an_init_script_and_a_missing_one_moves_the_group() {
    let scene = Scene::pair();
    scene.serve(WEB);
    scene.toml(&config("10s").replace(", script_dirs = [\"{dir}/init.d\"]", ""));
    scene.recorder("init.d", "httpd");
    for node in ["pi", "laptop"] {
        own_init_d(&scene, node);
    }
    let script = scene.lab.node("pi").dir().join("init.d/httpd");
    let text = std::fs::read_to_string(&script).expect("it was written");
    std::fs::remove_file(&script).expect("it was written");
    scene.start_all();
    scene.met();
    // pi is preferred, but lacks the service: it says so, and leaves the group to laptop.
    scene.settled("web", "laptop");
    assert_eq!(scene.acted("laptop", "start", 0), ["httpd"]);
    let line = scene.logged("pi", 0, &["there is no service httpd"]);
    assert!(line.contains("/etc/init.d") && line.contains("systemd"), "{line}");
    scene.logged("pi", 0, &["group web: start failed on this node"]);
    assert!(!scene.log("pi").contains("group web: running here"), "{}", scene.log("pi"));
    assert_eq!(scene.holders(WEB), ["laptop"], "pi has taken its address down again");
    scene.settled("mail", "laptop");
    assert_eq!(scene.holders(MAIL), ["laptop"]);
    scene.wait_status("pi", "the start has failed here", |status| {
        (group_of(status, "web")?["failed_here"] == true).then_some(())
    });
    let (_, text_of_status) = scene.latido("pi", &["status"]);
    let cure = "latido failback --group web";
    let flat = text_of_status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("web failed to start on this node") && flat.contains(cure), "{flat}");

    // Mended as it was told, it returns.
    scene.write("pi", "init.d/httpd", &text);
    let (code, text) = scene.latido("pi", &["failback", "--group", "web"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(scene.acted("pi", "start", 0), ["httpd"]);
    scene.settled("web", "pi");
    assert_eq!(scene.holders(WEB), ["pi"]);
}
