//! Ways around that gateways and JWT libraries really had. The rows are those of the list of
//! advisories that this project keeps to; each test is named after its row. What was found in this
//! gateway itself has tests here too, named after what must hold.
//!
//! Rows about what does not exist here yet (JWE, browser sessions, HTTP/3, CORS preflights,
//! WebSockets) have no test; row 26 is in `rfc7662_introspection::cache`.

mod claims;
mod headers;
mod messages;
mod methods;
mod paths;
mod tokens;

use crate::harness::{Harness, raw};

/// The statuses of what comes back for one request line and these fields on a socket.
async fn ask(t: &Harness, line: &str, fields: &str) -> Vec<u16> {
    let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    raw::statuses(&raw::exchange(t.address(), request).await)
}
