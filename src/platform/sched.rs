//! A place on the processor and in memory that a busy machine cannot take away.
//!
//! A heartbeat that waits for the scheduler or for the swap device looks like a dead node. Each
//! step may be refused; then the daemon goes on, and says what it lacks and how to get it.
use rustix::io::Errno;
use rustix::mm::MlockAllFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A step that the kernel refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was wanted: `real-time priority 50`.
    pub what: String,
    /// What the kernel said.
    pub why: Errno,
    /// What to do about it.
    pub cure: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no {}: {}; {}", self.what, self.why, self.cure)
    }
}

impl std::error::Error for Refused {}

/// Gives the calling thread `SCHED_RR` at `priority`, 1 (lowest) to 99; sched(7).
///
/// Threads and processes that it starts afterwards get ordinary scheduling again
/// (`SCHED_RESET_ON_FORK`): a resource's script must not run in front of everything.
pub fn realtime(priority: u8) -> Result<(), Refused> {
    set_round_robin(priority).map_err(|why| Refused {
        what: format!("real-time priority {priority}"),
        why,
        cure: match why {
            Errno::INVAL => "choose a priority from 1 to 99".into(),
            _ => "run latido as root or grant CAP_SYS_NICE (in a systemd unit: \
                  LimitRTPRIO=99; with cgroup v1 the group needs cpu.rt_runtime_us > 0); until \
                  then a busy machine delays heartbeats, so keep `dead` above 1 s"
                .into(),
        },
    })
}

/// Keeps everything that the process has mapped in memory; mlock(2). Call it when all threads run
/// and everything is allocated.
///
/// The program's text is read in as well: when the disk is what failed, the code that takes over
/// must not come from it. Memory mapped later is not locked (no `MCL_FUTURE`): under a limit,
/// every later allocation could fail, and the engine allocates nothing anyway.
pub fn lock_memory() -> Result<(), Refused> {
    // The soft limit is often below the hard one; where neither may be raised, mlockall decides.
    let limit = getrlimit(Resource::Memlock);
    let unlimited = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // A refusal changes nothing and is seen below.
        let _ = setrlimit(Resource::Memlock, raised);
    }
    rustix::mm::mlockall(MlockAllFlags::CURRENT).map_err(|why| Refused {
        what: "memory lock".into(),
        why,
        cure: format!(
            "grant CAP_IPC_LOCK or raise the limit, now {} (in a systemd unit: \
             LimitMEMLOCK=infinity); until then a machine that swaps delays heartbeats",
            match getrlimit(Resource::Memlock).current {
                Some(bytes) => format!("{} KiB", bytes / 1024),
                None => "none".into(),
            }
        ),
    })
}

/// Bytes of stack that [`prefault_stack`] touches.
const STACK_BYTES: usize = 128 * 1024;

/// Touches the calling thread's stack 128 KiB deep, so that growing into it later causes no page
/// fault. Before [`lock_memory`], which then keeps it.
#[inline(never)]
pub fn prefault_stack() {
    let mut pages = [0u8; STACK_BYTES];
    // Without this the compiler sees that nobody reads the array, and drops it.
    std::hint::black_box(&mut pages);
}

/// By system call: musl's wrapper always answers ENOSYS.
#[allow(unsafe_code)]
fn set_round_robin(priority: u8) -> Result<(), Errno> {
    /// The kernel's `struct sched_param`; musl's is longer.
    #[repr(C)]
    struct Parameters {
        priority: libc::c_int,
    }
    let parameters = Parameters { priority: libc::c_int::from(priority) };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer names a `struct sched_param` as the kernel defines it, which lives until
    // the call returns; 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameters) };
    if result == 0 {
        return Ok(());
    }
    let code = std::io::Error::last_os_error().raw_os_error();
    Err(Errno::from_raw_os_error(code.unwrap_or(libc::EPERM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy and priority of the calling thread, as the kernel shows them: proc(5) `stat`,
    /// fields 41 and 40.
    fn scheduling() -> (u32, u32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("procfs");
        let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        (fields[38].parse().expect("policy"), fields[37].parse().expect("priority"))
    }

    #[test]
    fn real_time_is_for_this_thread_and_not_for_its_children() {
        std::thread::spawn(|| match realtime(7) {
            Ok(()) => {
                assert_eq!(scheduling(), (2, 7), "SCHED_RR at 7");
                let child = std::thread::spawn(scheduling).join().expect("child");
                assert_eq!(child, (0, 0), "ordinary");
            }
            Err(refused) => {
                assert_eq!(refused.why, Errno::PERM);
                assert_eq!(scheduling(), (0, 0), "nothing changed");
                assert!(refused.to_string().contains("CAP_SYS_NICE"), "{refused}");
            }
        })
        .join()
        .expect("thread");
    }

    #[test]
    fn a_priority_out_of_range_names_the_range() {
        for priority in [0, 100] {
            let refused = realtime(priority).expect_err("out of range");
            assert_eq!(refused.why, Errno::INVAL);
            assert!(refused.to_string().contains("1 to 99"), "{refused}");
        }
    }

    /// In a process of its own: a lock holds for all threads, and for as long as they live.
    #[test]
    fn locked_memory_is_locked_or_the_refusal_names_the_limit() {
        const ASKED: &str = "LATIDO_TEST_LOCK_MEMORY";
        if std::env::var_os(ASKED).is_none() {
            let name = "platform::sched::tests::\
                        locked_memory_is_locked_or_the_refusal_names_the_limit";
            let child = std::process::Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", name, "--test-threads=1"])
                .env(ASKED, "1")
                .output()
                .expect("starts");
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
            assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
            return;
        }
        prefault_stack();
        let result = lock_memory();
        let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("VmLck");
        let locked: u64 = locked.trim().trim_end_matches(" kB").parse().expect("a number");
        match result {
            Ok(()) => assert!(locked > 1000, "only {locked} kB are locked"),
            Err(refused) => {
                assert_eq!(locked, 0, "nothing changed");
                let text = refused.to_string();
                assert!(text.contains("CAP_IPC_LOCK") && text.contains("KiB"), "{text}");
            }
        }
    }
}
