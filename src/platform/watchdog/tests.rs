use super::*;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// A terminal of our own: the end to keep, and its path.
pub(super) fn terminal() -> (rustix::fd::OwnedFd, PathBuf) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("ours");
    let path = ptsname(&ours, Vec::new()).expect("its name");
    (ours, path.to_string_lossy().into_owned().into())
}

/// A watchdog that resets nothing and writes down what is done to it.
#[derive(Clone)]
struct Shim {
    support: Support,
    longest: u32,
    present: Arc<Mutex<u32>>,
    said: Arc<Mutex<Vec<&'static str>>>,
}

impl Shim {
    fn new(options: u32, longest: u32) -> Shim {
        Shim {
            support: Support { options, identity: "Shim".into() },
            longest,
            present: Arc::new(Mutex::new(60)),
            said: Arc::default(),
        }
    }

    fn said(&self) -> Vec<&'static str> {
        self.said.lock().expect("said").clone()
    }
}

impl Driver for Shim {
    fn support(&self) -> io::Result<Support> {
        Ok(self.support.clone())
    }

    fn boot_status(&self) -> io::Result<u32> {
        Ok(CARDRESET)
    }

    fn set_timeout(&self, seconds: u32) -> io::Result<()> {
        if seconds > self.longest {
            return Err(ErrorKind::InvalidInput.into());
        }
        *self.present.lock().expect("present") = seconds;
        Ok(())
    }

    fn timeout(&self) -> io::Result<u32> {
        match *self.present.lock().expect("present") {
            u32::MAX => Err(ErrorKind::Unsupported.into()),
            seconds => Ok(seconds),
        }
    }

    fn set_pretimeout(&self, seconds: u32) -> io::Result<()> {
        if seconds < 60 { Ok(()) } else { Err(ErrorKind::InvalidInput.into()) }
    }

    fn pretimeout(&self) -> io::Result<u32> {
        Ok(2)
    }

    fn pet(&self) -> io::Result<()> {
        self.said.lock().expect("said").push("pet");
        Ok(())
    }

    fn allow_close(&self) -> io::Result<()> {
        self.said.lock().expect("said").push("V");
        Ok(())
    }
}

fn wanted(seconds: u64, pretimeout: Option<u64>) -> Wanted {
    Wanted {
        device: "/dev/watchdog9".into(),
        timeout: Duration::from_secs(seconds),
        pretimeout: pretimeout.map(Duration::from_secs),
    }
}

const ALL: u32 = SETTIMEOUT | MAGICCLOSE | PRETIMEOUT;

#[test]
fn what_the_device_says_counts_not_what_was_asked_for() {
    for (options, longest, asked, expected, remarks) in [
        (ALL, 60, 10, 10, 0),
        // The Raspberry Pi's.
        (ALL, 15, 20, 15, 1),
        (ALL & !SETTIMEOUT, 60, 10, 60, 2),
        (ALL, 0, 10, 60, 2),
    ] {
        let armed = Armed::arm(Shim::new(options, longest), None, &wanted(asked, None));
        let info = armed.map_err(|why| why.to_string()).expect("armed").info().clone();
        assert_eq!(info.timeout, Duration::from_secs(expected), "{info:?}");
        assert_eq!(info.remarks.len(), remarks, "{info:?}");
        assert!(info.bitten && !info.software && info.stoppable, "{info:?}");
    }
}

#[test]
fn a_device_without_a_bound_is_let_go_again() {
    let shim = Shim::new(ALL, 0);
    for present in [0, u32::MAX] {
        *shim.present.lock().expect("present") = present;
        let why = Armed::arm(shim.clone(), None, &wanted(10, None)).err().expect("refused");
        assert!(why.to_string().contains("does not say when it resets"), "{why}");
        assert_eq!(shim.said().last(), Some(&"V"), "stopped again");
    }
}

#[test]
fn only_an_orderly_end_stops_it_and_nothing_where_there_is_no_way_out() {
    for (options, nowayout, stops) in [
        (ALL, Some(false), true),
        (ALL, None, true),
        (ALL, Some(true), false),
        (ALL & !MAGICCLOSE, Some(false), false),
    ] {
        let shim = Shim::new(options, 60);
        let armed = Armed::arm(shim.clone(), nowayout, &wanted(10, None))
            .unwrap_or_else(|_| panic!("armed"));
        armed.pet().expect("petted");
        assert_eq!(shim.said(), ["pet", "pet"], "once to begin with");
        assert_eq!(armed.info().stoppable, stops);
        assert_eq!(armed.disarm(), stops);
        let shim = Shim::new(options, 60);
        drop(Armed::arm(shim.clone(), nowayout, &wanted(10, None)));
        assert_eq!(shim.said(), ["pet"], "no magic: it goes on");
    }
}

#[test]
fn a_pretimeout_is_asked_for_only_where_there_is_one() {
    let shown = Rc::new(RefCell::new(Vec::new()));
    for (options, pretimeout, expected) in [
        (ALL, Some(2), Some(2)),
        (ALL, None, None),
        (SETTIMEOUT, Some(2), None),
        (ALL, Some(60), None),
    ] {
        let armed = Armed::arm(Shim::new(options, 60), None, &wanted(10, pretimeout));
        let info = armed.unwrap_or_else(|_| panic!("armed")).info().clone();
        assert_eq!(info.pretimeout, expected.map(Duration::from_secs), "{info:?}");
        let complains = pretimeout.is_some() && expected.is_none();
        assert_eq!(!info.remarks.is_empty(), complains, "{info:?}");
        shown.borrow_mut().push(info);
    }
}

#[test]
fn what_is_no_watchdog_says_what_it_takes() {
    let wanted = Wanted { device: "/dev/no-such-watchdog".into(), ..wanted(10, None) };
    let why = open(&wanted).err().expect("refused").to_string();
    assert!(why.contains("is not there") && why.contains("modprobe softdog"), "{why}");
    // A terminal takes no part in this protocol, and is not harmed.
    let (_ours, device) = terminal();
    let why = open(&Wanted { device, ..wanted }).err().expect("refused").to_string();
    assert!(why.contains("does not say when it resets"), "{why}");
}
