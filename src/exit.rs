//! Exit codes, as in sysexits.h, so that systemd and cron can tell what needs a person.

use std::process::ExitCode;

/// Exit codes of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A check found something to warn of (`health`, `preflight`).
    Warn = 1,
    /// A check failed (`health`, `preflight`).
    Fail = 2,
    /// The command line cannot be understood.
    Usage = 64,
    /// The database is damaged; nothing was changed.
    Data = 65,
    /// A service we need cannot be reached.
    Unavailable = 69,
    /// A bug of ours, or an actor that must not end has ended. Starting again recovers.
    Software = 70,
    /// The disk failed us. Starting again recovers, if the disk does.
    Io = 74,
    /// Busy: another instance holds the state directory. Try again later.
    Busy = 75,
    /// The venue refuses the key.
    NoPermission = 77,
    /// The configuration, or a database of another mode, account or version.
    Config = 78,
}

impl Exit {
    /// The more telling of two ends: anything beats a clean one, otherwise the first stands.
    pub fn worse(self, other: Exit) -> Exit {
        if self == Exit::Ok { other } else { self }
    }
    /// The number itself.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
