use super::*;
use proptest::prelude::*;
use std::os::unix::fs::{FileExt, PermissionsExt};

/// A directory of its own for each test, removed at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let number = draw_incarnation().expect("random").0;
        let path = std::env::temp_dir().join(format!("latido-test-{number:016x}"));
        std::fs::create_dir(&path).expect("scratch directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn reopen(scratch: &Scratch, boot: BootId) -> (Memory, Option<Vec<u8>>) {
    let file = create(&scratch.0.join("memory")).expect("file");
    Memory::open(file, boot).expect("memory")
}

const BOOT: BootId = BootId([7; 16]);

#[test]
fn a_second_daemon_is_refused_and_told_the_cure() {
    let scratch = Scratch::new();
    let dir = scratch.0.join("run");
    assert!(!is_locked(&dir));
    let first = RuntimeDir::open(&dir).expect("first");
    assert!(is_locked(&dir));
    let error = RuntimeDir::open(&dir).expect_err("second");
    assert!(error.busy());
    let text = error.to_string();
    assert!(text.contains(dir.to_str().expect("utf-8")) && text.contains("latido stop"), "{text}");
    drop(first);
    RuntimeDir::open(&dir).expect("after the first has gone");
    let mode = std::fs::metadata(dir.join("lock")).expect("lock").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn memory_of_this_boot_comes_back_and_that_of_another_does_not() {
    let scratch = Scratch::new();
    let (mut memory, before) = reopen(&scratch, BOOT);
    assert_eq!(before, None);
    for content in [&b"one"[..], b"", &[9; MEMORY_MAX], b"last"] {
        memory.write(content).expect("write");
        assert_eq!(reopen(&scratch, BOOT).1.as_deref(), Some(content));
    }
    assert!(memory.write(&[0; MEMORY_MAX + 1]).is_err());
    assert_eq!(reopen(&scratch, BOOT).1.as_deref(), Some(&b"last"[..]));
    let (mut memory, before) = reopen(&scratch, BootId([8; 16]));
    assert_eq!(before, None);
    memory.write(b"new boot").expect("write");
    assert_eq!(reopen(&scratch, BootId([8; 16])).1.as_deref(), Some(&b"new boot"[..]));
}

proptest! {
    /// Whatever part of the last write reached the file, and whatever garbage lies in its place,
    /// the content is the last or the one before: never a mixture, never nothing.
    #[test]
    fn a_torn_write_leaves_the_content_before(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 2..5),
        kept in 0usize..700,
        damage in prop::option::of((0usize..700, 1u8..)),
    ) {
        let scratch = Scratch::new();
        let path = scratch.0.join("memory");
        let (mut memory, _) = reopen(&scratch, BOOT);
        let (last, earlier) = contents.split_last().expect("two at least");
        for content in earlier {
            memory.write(content).expect("write");
        }
        let previous = earlier.last().expect("one at least");
        let before = std::fs::read(&path).expect("before");
        memory.write(last).expect("write");
        let mut torn = std::fs::read(&path).expect("after");

        // The slot of the last write: bytes past `kept` never arrived.
        let slot = if contents.len() % 2 == 0 { 0 } else { 4096 + 36 };
        for index in slot + kept..torn.len().min(slot + 4096 + 36) {
            torn[index] = before.get(index).copied().unwrap_or(0);
        }
        if let Some((at, flip)) = damage
            && let Some(byte) = torn.get_mut(slot + at)
        {
            *byte ^= flip;
        }
        let file = std::fs::File::options().write(true).open(&path).expect("open");
        file.write_all_at(&torn, 0).expect("tear");

        let found = reopen(&scratch, BOOT).1;
        prop_assert!(
            found.as_ref() == Some(previous) || found.as_ref() == Some(last),
            "found {found:?}"
        );
        if kept < 32 && previous != last {
            prop_assert_eq!(found.as_ref(), Some(previous));
        }
    }

    /// Any file at all is read without a panic.
    #[test]
    fn any_file_is_read(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        let scratch = Scratch::new();
        std::fs::write(scratch.0.join("memory"), &bytes).expect("write");
        let _ = reopen(&scratch, BOOT);
    }
}

#[test]
fn vouch_words_outlive_the_mapping_but_not_the_boot() {
    let scratch = Scratch::new();
    let open = |boot| Vouch::open(&create(&scratch.0.join("vouch")).expect("file"), boot).unwrap();
    let vouch = open(BOOT);
    vouch.set(0, 41);
    vouch.set(31, u64::MAX);
    vouch.set(32, 5);
    assert_eq!(vouch.get(32), 0);
    drop(vouch);
    let again = open(BOOT);
    assert_eq!((again.get(0), again.get(1), again.get(31)), (41, 0, u64::MAX));
    drop(again);
    let rebooted = open(BootId([8; 16]));
    assert_eq!((rebooted.get(0), rebooted.get(31)), (0, 0));
}

#[test]
fn noted_addresses_come_back() {
    let scratch = Scratch::new();
    let dir = RuntimeDir::open(&scratch.0).expect("directory");
    assert_eq!(noted_addresses(&scratch.0), []);
    let addresses = [
        NotedAddress { address: "192.168.0.20".parse().unwrap(), interface: Some("eth0".into()) },
        NotedAddress { address: "fd00::20".parse().unwrap(), interface: None },
    ];
    dir.note_addresses(&addresses).expect("note");
    assert_eq!(noted_addresses(&scratch.0), addresses);
}

#[test]
fn boot_ids_are_read_or_refused() {
    assert!(BootId::current().is_ok());
    let id = BootId::parse("01234567-89ab-cdef-0123-456789abcdef\n").expect("boot id");
    assert_eq!(id.0[..3], [0x01, 0x23, 0x45]);
    assert_eq!(BootId::parse("01234567"), None);
    assert_eq!(BootId::parse(""), None);
}

#[test]
fn incarnations_differ() {
    assert_ne!(draw_incarnation().expect("random"), draw_incarnation().expect("random"));
}

#[test]
fn the_space_of_the_vouch_words_is_set_aside() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    let path = scratch.0.join("vouch");
    let _vouch = Vouch::open(&create(&path).expect("file"), BOOT).expect("vouch");
    let known = std::fs::metadata(&path).expect("metadata");
    // A hole in a full file system would be SIGBUS at the first store.
    assert!(known.blocks() > 0);
}

#[test]
fn a_full_file_system_has_its_own_cure() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let text = Error::new(Path::new("/run/x/vouch"), full, "something else").to_string();
    assert!(text.contains("make room") && !text.contains("something else"), "{text}");
}

#[test]
fn addresses_that_are_noted_already_are_not_written_again() {
    let scratch = Scratch::new();
    let runtime = RuntimeDir::open(&scratch.0).expect("runtime");
    let noted = [NotedAddress { address: IpAddr::from([192, 0, 2, 1]), interface: None }];
    runtime.note_addresses(&noted).expect("noted");
    // Where the new list would be written there is no room.
    std::fs::create_dir(scratch.0.join("addresses.new")).expect("obstacle");
    runtime.note_addresses(&noted).expect("the same");
    assert!(runtime.note_addresses(&[]).is_err());
    assert_eq!(noted_addresses(&scratch.0), noted);
}
