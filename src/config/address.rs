//! Addresses of venues and model servers.

/// True if this address is on this machine, in clear text.
pub(super) fn is_local(url: &str, plain: &str) -> bool {
    let Some(rest) = url.strip_prefix(plain) else {
        return false;
    };
    // Up to where the path begins; a name and password before an `@` would make of the rest another
    // host.
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let port = |after: &str| {
        after.is_empty()
            || after
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok())
    };
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|host| authority.strip_prefix(host).is_some_and(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        for local in [
            "http://127.0.0.1:8080/v1",
            "http://localhost",
            "http://[::1]:1/",
            "http://localhost/v1?x",
        ] {
            assert!(is_local(local, "http://"), "{local}");
        }
        for other in [
            "http://localhost:8080@evil.example/v1",
            "http://127.0.0.1@evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example/",
            "http://localhost:80:80/",
            "http://127.0.0.10/",
            "https://localhost",
        ] {
            assert!(!is_local(other, "http://"), "{other}");
        }
    }
}
