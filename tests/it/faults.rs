//! Each critical actor made to panic and to freeze, under a stand-in for systemd that hears READY
//! and WATCHDOG. The fault points exist in test builds only.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Daemon, LIMIT, pair};

/// Socket that receives what systemd would hear.
struct Notify {
    socket: UnixDatagram,
    path: String,
}

impl Notify {
    fn listen(dir: &Path) -> Self {
        let path = dir.join("notify.sock");
        drop(std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        Self {
            socket,
            path: path.display().to_string(),
        }
    }
    fn next(&self) -> Option<String> {
        let mut buffer = [0u8; 4096];
        let n = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }
    #[track_caller]
    fn wait(&self, words: &str) {
        let began = Instant::now();
        while self.next().is_none_or(|heard| !heard.contains(words)) {
            assert!(
                began.elapsed() < LIMIT,
                "{words} was not heard within {LIMIT:?}"
            );
        }
    }
    /// True if nothing is fed to the watchdog for this long.
    fn is_starved_for(&self, span: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < span {
            if self
                .next()
                .is_some_and(|heard| heard.contains("WATCHDOG=1"))
            {
                return false;
            }
        }
        true
    }
}

const FREEZE: Duration = Duration::from_millis(2400);

fn start(dir: &Path, fault: &str, notify: &Notify) -> Daemon {
    let env = [
        pair("ALPHA_ARENA_FAULT", fault),
        pair(
            "ALPHA_ARENA_FAULT_ONCE",
            &dir.join("fault-happened").display().to_string(),
        ),
        pair(
            "ALPHA_ARENA__SUPERVISION__FREEZE_MS",
            &FREEZE.as_millis().to_string(),
        ),
        pair("ALPHA_ARENA__VENUE__REQUEST_TIMEOUT_MS", "2000"),
        pair("NOTIFY_SOCKET", &notify.path),
        pair("WATCHDOG_USEC", "1000000"),
    ];
    Daemon::start(dir, &["run", "--speed", "10"], &env)
}

/// A restartable actor: begun afresh, the process lives, trading goes on.
#[track_caller]
fn restarts(actor: &str, how: &str) {
    let dir = tempfile::tempdir().unwrap();
    let notify = Notify::listen(dir.path());
    let mut daemon = start(dir.path(), &format!("once:{actor}={how}@40"), &notify);
    notify.wait("READY=1");
    daemon.wait_log("starting it afresh");
    while notify.next().is_some() {} // what was fed before
    let before = daemon.log().matches(" filled run=").count();
    crate::harness::wait_for("it trades on", || {
        daemon.log().matches(" filled run=").count() > before
    });
    notify.wait("WATCHDOG=1");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// An actor that must not end: the watchdog starves, the process ends with 70, the next start
/// recovers.
#[track_caller]
fn ends(actor: &str, how: &str, code: i32) {
    let dir = tempfile::tempdir().unwrap();
    let notify = Notify::listen(dir.path());
    let fault = format!("once:{actor}={how}@40");
    let mut daemon = start(dir.path(), &fault, &notify);
    notify.wait("READY=1");
    notify.wait("WATCHDOG=1");
    if how == "freeze" {
        crate::harness::wait_for("the fault", || dir.path().join("fault-happened").exists());
        // Fed for the last time at most half a freeze after the fault; then silence, for two
        // feeding times.
        let settle = Instant::now();
        while settle.elapsed() < FREEZE / 2 + Duration::from_millis(250) {
            notify.next();
        }
        assert!(
            notify.is_starved_for(Duration::from_millis(700)),
            "{actor}: the watchdog is fed though it froze"
        );
    }
    let status = daemon.wait_exit();
    assert_eq!(
        status.code(),
        Some(code),
        "{actor} {how}:\n{}",
        daemon.log()
    );
    // As systemd would: start it again. The fault happens once, so this is the recovery.
    let mut again = start(dir.path(), &fault, &notify);
    notify.wait("READY=1");
    assert!(!again.log().contains("halted"), "{}", again.log());
    again.wait_log("ready: reconciled");
    assert_eq!(again.stop().code(), Some(0));
}

#[test]
fn market_restarts_after_a_panic() {
    restarts("market", "panic");
}
#[test]
fn market_restarts_after_a_freeze() {
    restarts("market", "freeze");
}
#[test]
fn account_restarts_after_a_panic() {
    restarts("account", "panic");
}
#[test]
fn account_restarts_after_a_freeze() {
    restarts("account", "freeze");
}
#[test]
fn row_15_decision_restarts_after_panic() {
    restarts("decision", "panic");
}
#[test]
fn decision_restarts_after_a_freeze() {
    restarts("decision", "freeze");
}
/// It panics or freezes; the next start recovers.
#[test]
fn allocator_failure_ends_the_process() {
    ends("allocator", "panic", 70);
    ends("allocator", "freeze", 70);
}
/// It panics or freezes; the next start recovers.
#[test]
fn gate_failure_ends_the_process() {
    ends("gate", "panic", 70);
    ends("gate", "freeze", 70);
}
/// It panics or freezes; the next start recovers.
#[test]
fn row_16_18_executor_failure_ends_the_process() {
    ends("executor", "panic", 70);
    ends("executor", "freeze", 70);
}
/// It panics, or stops taking what is sent to it; the next start recovers.
#[test]
fn row_66_tracker_failure_ends_the_process() {
    ends("tracker", "panic", 70);
    ends("tracker", "freeze", 70);
}
/// It panics or freezes; the next start recovers.
#[test]
fn row_16_18_writer_failure_ends_the_process() {
    ends("writer", "panic", 74);
    ends("writer", "freeze", 70);
}
/// An actor that panics again and again is restarted three times; then exit 70.
#[test]
fn row_17_repeated_panics_end_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let notify = Notify::listen(dir.path());
    let mut daemon = start(dir.path(), "decision=panic@1", &notify);
    // `@1` without `once:` fires on the first pass only; the budget is shown by a loop of passes
    // below.
    daemon.wait_log("starting it afresh");
    drop(daemon);
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = start(dir.path(), "decision=panic@always", &notify);
    assert_eq!(daemon.wait_exit().code(), Some(70), "{}", daemon.log());
    assert_eq!(daemon.log().matches("starting it afresh").count(), 3);
}
