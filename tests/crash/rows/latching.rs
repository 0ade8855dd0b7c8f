//! A halt is never lost: at each moment of a process's life × each way to halt it, what is asked
//! for is latched, and the next start is halted. The table that is printed has the milliseconds
//! until it could no longer be lost.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::scene::Scene;
use crate::harness::{BIN, Daemon, command, count, pair, wait_for};
use crate::shim;

/// A moment in the life of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The state directory is held; the venue has not been reached.
    BeforeReach,
    /// The venue has been reached; the database is not open.
    BeforeDatabase,
    /// Database contents loaded; no actor runs.
    Loading,
    Trading,
    /// The actors have ended; the process has not.
    Stopping,
    /// The disk takes no byte more.
    DiskFull,
    /// Log that nobody reads.
    LogStalled,
    /// The process can open nothing more.
    NoDescriptors,
}

const MOMENTS: [Moment; 8] = [
    Moment::BeforeReach,
    Moment::BeforeDatabase,
    Moment::Loading,
    Moment::Trading,
    Moment::Stopping,
    Moment::DiskFull,
    Moment::LogStalled,
    Moment::NoDescriptors,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Signal,
    File,
    Verb,
    Socket,
}

const WAYS: [Way; 4] = [Way::Signal, Way::File, Way::Verb, Way::Socket];

/// A running process at a moment.
enum Running {
    Daemon(Daemon),
    /// One whose log goes into a pipe that nobody reads.
    Piped(std::process::Child),
}

impl Running {
    fn pid(&self) -> u32 {
        match self {
            Running::Daemon(daemon) => daemon.pid(),
            Running::Piped(child) => child.id(),
        }
    }
    fn kill(self) {
        match self {
            Running::Daemon(mut daemon) => {
                daemon.checked = false;
                daemon.kill();
            }
            Running::Piped(mut child) => {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}

fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

fn frozen(scene: &Scene, point: &str) -> Running {
    let held = scene.dir.path().join("held");
    std::fs::write(&held, "").unwrap();
    let hold = pair("ALPHA_ARENA_FAULT_HOLD", &held.display().to_string());
    let mut daemon = scene.start_with(&[pair("ALPHA_ARENA_FAULT", &format!("{point}=hold")), hold]);
    daemon.checked = false;
    wait_for(point, || {
        std::fs::read_to_string(&held).is_ok_and(|text| !text.is_empty())
    });
    wait_for("the control socket", || {
        scene.dir.path().join("control.sock").exists()
    });
    Running::Daemon(daemon)
}

/// Brings a process to the moment.
fn reach(scene: &Scene, moment: Moment) -> Running {
    let trading = || {
        let mut daemon = scene.start();
        daemon.checked = false;
        scene.wait_for_fill();
        daemon
    };
    match moment {
        Moment::BeforeReach => frozen(scene, "start_held"),
        Moment::BeforeDatabase => frozen(scene, "start_reached"),
        Moment::Loading => frozen(scene, "start_loaded"),
        Moment::Trading => Running::Daemon(trading()),
        Moment::Stopping => {
            let mut daemon = scene.start_with(&[pair("ALPHA_ARENA_FAULT", "stopped=freeze")]);
            daemon.checked = false;
            scene.wait_for_fill();
            signal(daemon.pid(), "-TERM");
            // Its actors have ended when the database's log has been folded back and the writer is
            // gone.
            wait_for("the end of the actors", || {
                daemon.log().contains("actor=writer")
            });
            Running::Daemon(daemon)
        }
        Moment::DiskFull => {
            let mut daemon = scene.start_with(&shim::disk(&[("SHIM_FULL_AFTER", "400")]));
            daemon.checked = false;
            wait_for("the full disk", || daemon.ended().is_some());
            Running::Daemon(daemon)
        }
        Moment::LogStalled => {
            let mut child = Command::new(BIN);
            let args = [
                "--state-dir",
                &scene.dir.path().display().to_string(),
                "--config",
                &scene.config,
                "run",
            ]
            .map(str::to_owned);
            child
                .args(args)
                .current_dir(scene.dir.path())
                .env_clear()
                .envs(scene.env.clone());
            child
                .env("ALPHA_ARENA_LOG", "debug")
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            let child = child.spawn().unwrap();
            scene.wait_for_fill();
            let pipe = child.stderr.as_ref().unwrap();
            let waiting = || rustix::io::ioctl_fionread(pipe).unwrap();
            wait_for("the pipe to be full", || waiting() > 60_000);
            Running::Piped(child)
        }
        Moment::NoDescriptors => {
            let daemon = trading();
            let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
                .unwrap()
                .count();
            let limit = format!("--nofile={open}:{open}");
            let pid = daemon.pid().to_string();
            assert!(
                Command::new("prlimit")
                    .args(["--pid", &pid, &limit])
                    .status()
                    .unwrap()
                    .success()
            );
            Running::Daemon(daemon)
        }
    }
}

/// Asks for a halt. `false`: this way needs somebody who answers, and nobody is there.
fn ask(scene: &Scene, pid: u32, way: Way) -> bool {
    let dir = scene.dir.path();
    match way {
        Way::Signal => Command::new("kill")
            .args(["-USR1", &pid.to_string()])
            .status()
            .unwrap()
            .success(),
        Way::File => {
            std::fs::write(dir.join("HALT"), "a table\n").unwrap();
            true
        }
        Way::Verb => {
            let args = [
                "--config",
                scene.config.as_str(),
                "halt",
                "--reason",
                "a table",
            ];
            let output = command(dir, &args)
                .envs(scene.env.clone())
                .output()
                .unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
            true
        }
        Way::Socket => {
            let Ok(mut socket) = UnixStream::connect(dir.join("control.sock")) else {
                return false;
            };
            socket
                .set_read_timeout(Some(Duration::from_secs(100)))
                .unwrap();
            let body = r#"{"flatten": false, "why": "a table", "who": "a table"}"#;
            let request = format!(
                "POST /halt HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            drop(socket.read_to_string(&mut answer));
            if answer.is_empty() {
                return false; // the process ended in the middle of it
            }
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            true
        }
    }
}

/// True once the halt can no longer be lost.
fn is_latched(dir: &Path) -> bool {
    let marked = std::fs::metadata(dir.join("halt.signals")).is_ok_and(|meta| meta.len() > 0);
    let kept = count(
        dir,
        "SELECT COUNT(*) FROM restrictions WHERE scope = 'system' AND cause = 'kill'",
    ) > 0;
    marked || kept || dir.join("HALT").symlink_metadata().is_ok()
}

/// One cell of the table: milliseconds, or `None` where nobody was there to be asked.
fn cell(moment: Moment, way: Way) -> Option<u128> {
    let scene = Scene::new(&[]);
    let running = reach(&scene, moment);
    let began = Instant::now();
    let asked = ask(&scene, running.pid(), way);
    if !asked {
        running.kill();
        return None;
    }
    wait_for(&format!("the latch, {moment:?}, {way:?}"), || {
        is_latched(scene.dir.path())
    });
    let took = began.elapsed().as_millis();
    running.kill();
    // The next start is halted, before anything else.
    let known = scene.exchange.ledger()["creates"].as_array().unwrap().len();
    let mut next = scene.start();
    next.checked = false;
    wait_for(
        &format!("the halt of the next start, {moment:?}, {way:?}"),
        || {
            assert!(next.ended().is_none(), "{moment:?} {way:?}: {}", next.log());
            count(
                scene.dir.path(),
                "SELECT COUNT(*) FROM restrictions WHERE scope = 'system' AND cause = 'kill'",
            ) > 0
        },
    );
    let ledger = scene.exchange.ledger();
    let opened = ledger["creates"].as_array().unwrap()[known..]
        .iter()
        .filter(|create| create["body"]["reduceOnly"] != serde_json::Value::Bool(true))
        .count();
    assert_eq!(
        opened, 0,
        "{moment:?} {way:?}: the next start opened something"
    );
    Some(took)
}

/// By signal, file, verb and socket, from before the venue is reached to a full disk or a stalled
/// log.
#[test]
fn halt_latches_at_every_moment() {
    let cells: Vec<(Moment, Way)> = MOMENTS
        .iter()
        .flat_map(|m| WAYS.iter().map(move |w| (*m, *w)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let table = std::sync::Mutex::new(std::collections::BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((moment, way)) =
                    cells.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let took = cell(*moment, *way);
                    table
                        .lock()
                        .unwrap()
                        .insert((*moment as usize, *way as usize), took);
                }
            });
        }
    });
    let table = table.into_inner().unwrap();
    println!(
        "{:<16}{:>10}{:>10}{:>10}{:>10}",
        "latched, ms", "signal", "file", "verb", "socket"
    );
    for (row, moment) in MOMENTS.iter().enumerate() {
        let shown =
            |way: usize| table[&(row, way)].map_or("nobody".to_owned(), |ms| ms.to_string());
        println!(
            "{:<16}{:>10}{:>10}{:>10}{:>10}",
            format!("{moment:?}"),
            shown(0),
            shown(1),
            shown(2),
            shown(3)
        );
    }
    // Only a process that has ended has no socket, and takes no signal.
    let absent = table
        .iter()
        .filter(|(_, took)| took.is_none())
        .map(|((moment, _), _)| MOMENTS[*moment]);
    assert!(
        absent.clone().all(|moment| moment == Moment::DiskFull),
        "{:?}",
        absent.collect::<Vec<_>>()
    );
}
