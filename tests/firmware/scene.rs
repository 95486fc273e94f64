//! Two nodes that may own an address, and a board with a serial line to each of them.
//!
//! ```text
//!            ──[lan]──┬───────────────┐
//!                    pi ──[pair]── laptop
//!                     └─UART1 board UART2─┘     the board: QEMU's mps2-an385
//! ```
use crate::stalls::Stalls;
use crate::trio::{self, GROUP, NODES, VIRTUAL, WITNESS, machine, network, port, udp};
use crate::world::{PROGRAM, Scene};
use latido::lab::plan::{Cable, Plan};
use latido::lab::{Exit, wait};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A packet, a wake-up, the address itself, and the looking for it; and the emulator's threads, to
/// which a byte is three wake-ups.
const ALLOWANCE: Duration = Duration::from_millis(150);
/// Longer than a lease, and than what a witness waits after its start.
pub(crate) const LONG: Duration = Duration::from_secs(13);
const FLASH_LEN: usize = 2 * 4096;
const QEMU: &str = "qemu-system-arm";
const NODE: &str = "node";

/// A board, as it is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Board {
    /// QEMU's mps2-an385.
    Qemu,
    /// A Raspberry Pi Pico in rp2040js.
    Pico,
}

/// The nodes and the board.
pub(crate) struct Site {
    board: Board,
    scene: Scene,
    stalls: Stalls,
    pub(crate) bound: Duration,
}

impl Deref for Site {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// The firmware, as `boards/build` leaves it beside the program under test.
fn firmware(name: &str) -> PathBuf {
    let target = Path::new(PROGRAM).ancestors().nth(2).expect("a target directory");
    let path = target.join("firmware").join(name);
    assert!(path.exists(), "no firmware at {}: run `boards/build` first", path.display());
    path
}

fn plan() -> Plan {
    let node = |number: u8, name: &str| {
        let ports = vec![
            port("lan", "eth0", [10, 77, 0, number]),
            port("pair", "eth1", [10, 78, 0, number]),
        ];
        machine(name, ports)
    };
    let cable = |name: &str| Cable { between: [name.into(), WITNESS.into()], baud: Some(115_200) };
    Plan {
        program: PROGRAM.into(),
        networks: vec![network("lan"), network("pair")],
        trunks: Vec::new(),
        nodes: vec![
            node(1, "pi"),
            node(2, "laptop"),
            machine(WITNESS, Vec::new()),
            // For a second witness.
            node(3, "twin"),
        ],
        clients: Vec::new(),
        cables: NODES.map(cable).into(),
    }
}

impl Site {
    /// A board fresh from the factory, and no daemon.
    pub(crate) fn new(board: Board) -> Site {
        let scene = Scene::new(&plan());
        let serial = "[[link]]\nserial = \"{serial}\"\nbaud = 115200\n";
        scene.toml(&trio::text("test", NODES, GROUP, VIRTUAL, &(udp("eth1") + serial)));
        let bound = trio::bound(&scene);
        let site = Site { board, scene, stalls: Stalls::start(), bound };
        fs::write(site.flash(), [0xFF; FLASH_LEN]).expect("a flash");
        site.power_board();
        site
    }

    /// All at work: `pi` owns the group, and the board's vote is given to it.
    pub(crate) fn running() -> Site {
        Site::running_on(Board::Qemu)
    }

    /// The same with this board.
    pub(crate) fn running_on(board: Board) -> Site {
        let site = Site::new(board);
        let (code, said) = site.provision("pi", &[]);
        assert_eq!(code, 0, "{said}");
        for node in NODES {
            site.start(node);
        }
        site.settled(GROUP, "pi");
        site.witness_is("alive");
        site.votes();
        site
    }

    fn flash(&self) -> PathBuf {
        self.lab.node(WITNESS).dir().join("flash")
    }

    fn control(&self) -> PathBuf {
        self.lab.node(WITNESS).dir().join("qmp")
    }

    /// Puts the board under power.
    pub(crate) fn power_board(&self) {
        let command = match self.board {
            Board::Qemu => self.qemu(),
            Board::Pico => self.rp2040js(),
        };
        // A real board does not wait for this machine's other work: real-time, as the daemons.
        let real_time = ["chrt", "--rr", "1"].map(str::to_owned).into_iter();
        let node = self.lab.node(WITNESS);
        node.spawn("board", real_time.chain(command)).unwrap_or_else(|why| panic!("{why}"));
        self.wait(format!("the emulator of {:?} to run (is it installed?)", self.board), || {
            match self.board {
                Board::Qemu => UnixStream::connect(self.control()).ok().map(drop),
                Board::Pico => self.board().map(drop),
            }
        });
    }

    /// The command line of the Pico's emulator.
    fn rp2040js(&self) -> Vec<String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/boards/witness-pico/emulator.mjs");
        let modules = std::env::var("LATIDO_RP2040JS");
        assert!(
            modules.is_ok(),
            "LATIDO_RP2040JS is no directory with rp2040js: see ./test --help"
        );
        let serial = |number: usize| self.lab.serial_device(number).display().to_string();
        let (image, flash) = (firmware("witness-pico.uf2"), self.flash());
        let [image, flash] = [image, flash].map(|path| path.display().to_string());
        vec![NODE.into(), script.into(), image, flash, serial(0), serial(1)]
    }

    /// The command line of QEMU.
    fn qemu(&self) -> Vec<String> {
        let serial = |number: usize| {
            let path = self.lab.serial_device(number);
            format!("serial,id=uart{},path={}", number + 1, path.display())
        };
        let (flash, control) = (self.flash(), self.control());
        let _ = fs::remove_file(&control);
        let log = self.lab.node(WITNESS).dir().join("defmt");
        vec![
            QEMU.to_owned(),
            "-M".into(),
            "mps2-an385".into(),
            "-display".into(),
            "none".into(),
            "-monitor".into(),
            "none".into(),
            "-kernel".into(),
            firmware("witness-qemu").display().to_string(),
            "-chardev".into(),
            format!("file,id=uart0,path={}", log.display()),
            "-serial".into(),
            "chardev:uart0".into(),
            "-chardev".into(),
            serial(0),
            "-serial".into(),
            "chardev:uart1".into(),
            "-chardev".into(),
            serial(1),
            "-serial".into(),
            "chardev:uart2".into(),
            "-semihosting-config".into(),
            format!("enable=on,target=native,arg={}", flash.display()),
            "-qmp".into(),
            format!("unix:{},server=on,wait=off", control.display()),
        ]
    }

    /// Takes the board's power away.
    pub(crate) fn cut_board(&self) {
        let board = self.board().expect("a board");
        self.lab.node(WITNESS).signal(board, Signal::KILL).unwrap();
        self.wait("the end of the board", || self.board().is_none().then_some(()));
    }

    /// The emulator's process.
    pub(crate) fn board(&self) -> Option<i32> {
        let all = self.lab.node(WITNESS).processes();
        let ours =
            |command: &[String]| command.first().is_some_and(|word| word == QEMU || word == NODE);
        all.into_iter().find(|one| ours(&one.command) && one.state != 'Z').map(|one| one.pid)
    }

    /// A command of QEMU's own protocol: `system_reset`, `stop`, `cont`.
    pub(crate) fn order(&self, command: &str) {
        let mut stream = UnixStream::connect(self.control()).expect("the emulator's control");
        let mut answers = BufReader::new(stream.try_clone().expect("a copy"));
        let mut line = String::new();
        for order in ["qmp_capabilities", command] {
            writeln!(stream, "{{\"execute\": \"{order}\"}}").expect("an order");
            line.clear();
            while !line.contains("\"return\"") {
                line.clear();
                assert_ne!(answers.read_line(&mut line).expect("an answer"), 0, "{order}");
                assert!(!line.contains("\"error\""), "{order}: {line}");
            }
        }
    }

    /// Runs `latido witness` on a node for the board at its serial line.
    pub(crate) fn board_tool(&self, node: &str, action: &str, more: &[&str]) -> (i32, String) {
        let number = NODES.iter().position(|name| *name == node).expect("a node");
        let device = self.lab.serial_device(number).display().to_string();
        let mut command = vec![PROGRAM, "witness", action, &device];
        command.extend(more);
        match self.lab.node(node).run(command, Duration::from_secs(40)) {
            Ok((Exit::Code(code), said)) => (code, said),
            other => panic!("{other:?}"),
        }
    }

    /// Gives the board the cluster's keys, from a node.
    pub(crate) fn provision(&self, node: &str, more: &[&str]) -> (i32, String) {
        let keys = self.lab.node(node).dir().join("keys").display().to_string();
        let cluster = format!("test={keys}");
        let mut args = vec!["--name", WITNESS, "--cluster", &cluster];
        args.extend(more);
        self.board_tool(node, "provision", &args)
    }

    /// Waits until the nodes that are on say this of the witness.
    pub(crate) fn witness_is(&self, state: &str) {
        for node in NODES.into_iter().filter(|node| self.lab.node(node).is_on()) {
            self.wait_status(node, format!("the witness is {state}"), |status| {
                (status["witnesses"][0]["state"] == state).then_some(())
            });
        }
    }

    /// Waits until the board gives its vote to the owner: another failure would stop nothing.
    pub(crate) fn votes(&self) {
        for node in NODES.into_iter().filter(|node| self.lab.node(node).is_on()) {
            self.wait_status(node, "all three vote", |status| {
                let seconds = self.health(status)?["uptime_s"].as_u64()?;
                (seconds > 10).then_some(())
            });
        }
    }

    /// What a node says of the board.
    pub(crate) fn health<'a>(&self, status: &'a Value) -> Option<&'a Value> {
        let board = &status["witnesses"][0]["board"];
        board.is_object().then_some(board)
    }

    /// Waits until only `node` has the address; when it was seen.
    pub(crate) fn taken_by(&self, node: &str) -> Instant {
        self.wait(format!("{node} to have the address"), || {
            (self.holders(VIRTUAL) == [node]).then(Instant::now)
        })
    }

    /// Makes sure that what began at `since` took no longer than the computed bound. What this
    /// machine stood still meanwhile is added, once for each side.
    pub(crate) fn within_bound(&self, what: &str, since: Instant, took: Instant) {
        let stalled = self.stalls.worst(since, took);
        let (took, bound) = (took - since, self.bound);
        let allowed = bound + stalled * 2 + ALLOWANCE;
        println!("{what} after {took:?}; bound {bound:?}, stalled {stalled:?}");
        assert!(took <= allowed, "{what} after {took:?}; bound {bound:?}, stalled {stalled:?}");
    }

    /// Makes sure that for a while nobody but `owner` has the address.
    pub(crate) fn stays(&self, owner: Option<&str>, period: Duration) {
        wait::never(period, "the address has moved", || {
            let holders = self.holders(VIRTUAL);
            (holders.iter().map(String::as_str).ne(owner)).then_some(holders)
        })
        .unwrap();
    }

    /// Makes sure that the address is gone, and stays so until the board may vote again.
    pub(crate) fn stays_gone(&self) {
        self.wait("the address to go", || self.holders(VIRTUAL).is_empty().then_some(()));
        self.stays(None, self.bound);
    }

    /// Makes sure that for a while no two nodes have the address.
    pub(crate) fn stays_with_one(&self, period: Duration) {
        wait::never(period, "two nodes have the address", || {
            let holders = self.holders(VIRTUAL);
            (holders.len() > 1).then_some(holders)
        })
        .unwrap();
    }

    /// Never two nodes had the address at once.
    pub(crate) fn never_two(&self) {
        let held = self.lab.ownership().held(VIRTUAL, self.begun, Instant::now());
        assert_eq!(held.both, Duration::ZERO, "{held:?}");
    }

    /// The plug of a node pulled; when.
    pub(crate) fn cut(&self, node: &str) -> Instant {
        self.lab.node(node).power_cut().unwrap()
    }
}
