//! What is said on the cable before a board is a witness.
use crate::scene::{Board, Site};
use crate::trio::WITNESS;

#[test]
fn a_board_takes_its_keys_once() {
    let site = Site::new(Board::Qemu);
    let (code, said) = site.board_tool("pi", "identify", &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("mps2-an385") && said.contains("start 1 (power came on)"), "{said}");
    assert!(said.contains("of nothing yet"), "{said}");
    let (code, said) = site.provision("laptop", &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("start 2 (it was told to)") && said.contains("keys 1"), "{said}");
    // Whoever comes next, on whatever line, changes nothing.
    let (code, refused) = site.provision("pi", &[]);
    assert!(code == 1 && refused.contains("--erase"), "{refused}");
    let (_, after) = site.board_tool("pi", "identify", &[]);
    let of = |text: &str| text.lines().find(|line| line.starts_with("witness")).map(str::to_owned);
    assert_eq!(of(&after), of(&said));
    // It survives a loss of power, which is counted.
    site.cut_board();
    site.power_board();
    let (_, after) = site.board_tool("laptop", "identify", &[]);
    assert!(of(&after) == of(&said) && after.contains("start 3 (power came on)"), "{after}");
    let (code, said) = site.provision("pi", &["--erase"]);
    assert!(code == 0 && said.contains("start 5"), "{said}");
    assert!(said.contains(WITNESS), "{said}");
}
