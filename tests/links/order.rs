//! Two nodes that list the same links in another order.
use crate::scene::{Bare, GROUP, link, toml};
use latido::lab::cable::End;
use rustix::process::Signal;

#[test]
fn links_listed_in_another_order_are_told_with_the_cure() {
    let (raw, serial) = (link("ethernet = \"eth1\""), link("serial = \"{serial}\"\nbaud = 115200"));
    let (here, there) = (format!("{raw}{serial}"), format!("{serial}{raw}"));
    let bare = Bare::new(&here);
    bare.write("laptop", "latido.toml", &toml(&there));
    bare.start_all();
    // While every path works nothing is amiss, and nothing moves.
    bare.met();
    bare.settled(GROUP, "pi");
    for place in 0..2 {
        bare.wait_link("pi", "laptop", place, "up");
    }
    bare.lab.cable(0).expect("the serial cable").set(End::First, false);
    bare.lab.cable(0).expect("the serial cable").set(End::Second, false);
    bare.wait("pi to tell that the order differs", || {
        let (_, screen) = bare.latido("pi", &["status"]);
        let told = screen.contains("another order") && screen.contains("latido check");
        told.then_some(())
    });
    bare.settled(GROUP, "pi");
    let files = ["pi", "laptop"]
        .map(|node| bare.node(node).dir().join("latido.toml").display().to_string());
    let (code, text) = checked(&files);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("differ in the order of the links"), "{text}");

    bare.write("laptop", "latido.toml", &toml(&here));
    bare.signal("laptop", Signal::HUP);
    for (node, peer) in [("pi", "laptop"), ("laptop", "pi")] {
        bare.wait_link(node, peer, 0, "up");
        bare.wait_link(node, peer, 1, "down");
    }
    let (_, screen) = bare.latido("pi", &["status"]);
    assert!(!screen.contains("another order"), "{screen}");
    let (code, text) = checked(&files);
    assert!(!text.contains("order of the links"), "{code}: {text}");
    bare.settled(GROUP, "pi");
}

/// `latido check` of both files: its code, and all that it says.
fn checked(files: &[String; 2]) -> (i32, String) {
    let (code, out, err) =
        crate::world::run(&["check", "--config", &files[0], "--config", &files[1]]);
    let all = format!("{out}{err}").split_whitespace().collect::<Vec<_>>().join(" ");
    (code, all)
}
