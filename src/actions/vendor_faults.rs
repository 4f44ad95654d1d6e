//! One table for all actions that speak to a vendor: what each makes of every status and every fault on the wire, whether
//! it then knows that nothing was done, and how many requests it sent to find out.
//!
//! An action without a row fails here. The classes are those of the vendors' own rules: what only reads may be sent again,
//! what sets the same state may, what makes something new may not unless nothing can have arrived.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::testing::Bench;

/// What goes wrong with the one request that is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Status(u16),
    /// 429, `Retry-After` in seconds.
    ThrottledFor,
    /// 429, `Retry-After` as a date.
    ThrottledUntil,
    /// 502 and a page.
    Edge,
    /// 503 in the shape of Clerk's maintenance.
    Maintenance,
    /// Nobody listens.
    Refused,
    /// The connection is closed before the request was read.
    ClosedBefore,
    /// The connection is closed after the request was read.
    ClosedAfter,
    /// No answer.
    Silence,
    /// 200 and half a document.
    Truncated,
    /// 200 and a page.
    Page,
    /// 302 to a page.
    Redirect,
}

const FAULTS: [(&str, Fault); 18] = [
    ("400", Fault::Status(400)),
    ("401", Fault::Status(401)),
    ("403", Fault::Status(403)),
    ("404", Fault::Status(404)),
    ("409", Fault::Status(409)),
    ("422", Fault::Status(422)),
    ("429 for", Fault::ThrottledFor),
    ("429 until", Fault::ThrottledUntil),
    ("500", Fault::Status(500)),
    ("502 page", Fault::Edge),
    ("503", Fault::Status(503)),
    ("503 maintenance", Fault::Maintenance),
    ("refused", Fault::Refused),
    ("closed before", Fault::ClosedBefore),
    ("closed after", Fault::ClosedAfter),
    ("silence", Fault::Silence),
    ("truncated", Fault::Truncated),
    ("page", Fault::Page),
];
