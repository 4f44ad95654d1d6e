//! Tests against servers that misbehave on the wire: slow, endless, cut off, reset, or no HTTP at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Client, HttpError, Origins, Request, Response};
use crate::base::SecretStore;
use crate::base::secret::reference;

const SECRET_PATH: &str = "/services/T0SECRET/B0SECRET/XyZSECRET";

/// What is said on a connection once its request has been read.
#[derive(Debug, Clone, Copy)]
enum Says {
    /// These bytes, and the end.
    Bytes(&'static [u8]),
    /// These bytes, and then a reset (RST).
    Reset(&'static [u8]),
    /// These bytes, and then one more every so often, for ever.
    Drip(&'static [u8], Duration),
    /// These bytes, and then as many more as are taken.
    Flood(&'static [u8]),
}

struct Server {
    client: Client,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn that(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(speak(stream, says, Arc::clone(&seen)));
            }
        });
        Self { client: client(&address), requests }
    }

    async fn get(&self, limit: Duration) -> Result<Response, HttpError> {
        let mut request = Request::get("https://api.example.com/x?q=hidden").timeout(limit);
        request.max_body = 64 * 1024;
        self.client.send(request).await
    }
}

fn client(address: &str) -> Client {
    let mut origins = Origins::default();
    origins.set("https://api.example.com", address).unwrap();
    origins.set("https://hooks.slack.com", address).unwrap();
    origins.close();
    let given = BTreeMap::from([("slack".to_owned(), format!("https://hooks.slack.com{SECRET_PATH}"))]);
    Client::new(origins, Arc::new(SecretStore::new(BTreeMap::new(), Arc::default()).with_given(given)))
}

async fn speak(mut stream: TcpStream, says: Says, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    seen.lock().unwrap().push(String::from_utf8(head).unwrap());
    let (Says::Bytes(bytes) | Says::Reset(bytes) | Says::Drip(bytes, _) | Says::Flood(bytes)) = says;
    let mut going = stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok();
    match says {
        Says::Bytes(_) => {}
        Says::Reset(_) => stream.set_zero_linger().unwrap(),
        Says::Drip(_, pause) => {
            while going {
                tokio::time::sleep(pause).await;
                going = stream.write_all(b"a").await.is_ok();
            }
        }
        Says::Flood(_) => {
            while going {
                going = stream.write_all(b"1000\r\n").await.is_ok()
                    && stream.write_all(&[b'a'; 0x1000]).await.is_ok()
                    && stream.write_all(b"\r\n").await.is_ok();
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_server_that_drips_is_left_at_the_total_limit() {
    let drip = Duration::from_millis(20);
    for head in [&b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\nx-long: ", b""] {
        let server = Server::that(Says::Drip(head, drip)).await;
        let (limit, began) = (Duration::from_millis(300), Instant::now());
        let error = server.get(limit).await.unwrap_err();
        assert!(matches!(error, HttpError::Timeout { sent: true, .. } | HttpError::Broken { .. }), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "it went on for {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_total_limit_is_told_with_its_length_and_without_the_query() {
    let server = Server::that(Says::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", LONG)).await;
    let error = server.get(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), "GET https://api.example.com/x got no answer within 50ms");
}

// How a full queue behaves is the system's own affair.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_host_that_takes_no_connection_is_left_at_the_connect_limit() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // Nobody accepts: when the queue is full, the system lets further ones hang.
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue never fills");
    }
    let client = client(&format!("http://{address}")).connecting_within(Duration::from_millis(100));
    let error = client.send(Request::get("https://api.example.com/x").timeout(LONG)).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout { sent: false, limit, .. } if limit.as_millis() == 100), "{error:?}");
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(&format!("http://{address}")).send(Request::get("https://api.example.com/x")).await.unwrap_err();
    assert!(matches!(error, HttpError::Network { sent: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_never_followed() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let text = format!("HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
        let server = Server::that(Says::Bytes(text.leak().as_bytes())).await;
        let response = server.get(LONG).await.unwrap();
        assert_eq!(
            (response.status.to_string().as_str(), response.header("location")),
            (&status[..3], Some("/elsewhere"))
        );
        let requests = server.requests.lock().unwrap().clone();
        assert!(requests.len() == 1 && requests[0].starts_with("GET /x?q=hidden "), "{requests:?}");
    }
}

#[tokio::test]
async fn an_answer_is_read_no_further_than_its_limit() {
    let server = Server::that(Says::Flood(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    let error = server.get(LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "the answer to GET https://api.example.com/x is larger than 65536 bytes");
    let server = Server::that(Says::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\nhe")).await;
    let error = server.get(LONG).await.unwrap_err();
    assert!(
        matches!(error, HttpError::TooLarge { limit: 65_536, .. }),
        "what is said to be too long is not read: {error:?}"
    );
}

#[tokio::test]
async fn a_packed_answer_is_never_unpacked() {
    // What is small on the wire could fill memory otherwise; and no answer is asked for in that form.
    let packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00";
    let server = Server::that(Says::Bytes(packed)).await;
    let response = server.get(LONG).await.unwrap();
    assert_eq!((response.body.as_slice(), response.json()), (&b"\x1f\x8b\x08\x00"[..], None));
    assert!(!server.requests.lock().unwrap()[0].to_lowercase().contains("accept-encoding"));
}

#[tokio::test]
async fn half_an_answer_is_told_from_none() {
    let cut: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":";
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"half\":\r\n";
    for says in [Says::Bytes(cut), Says::Reset(cut), Says::Bytes(chunked)] {
        let error = Server::that(says).await.get(LONG).await.unwrap_err();
        // A reset may overtake the bytes before it.
        let reset = matches!(says, Says::Reset(_)) && matches!(error, HttpError::Network { sent: true, .. });
        assert!(reset || matches!(error, HttpError::Broken { .. }), "{says:?}: {error:?}");
    }
    for says in [Says::Bytes(b""), Says::Reset(b"")] {
        let error = Server::that(says).await.get(LONG).await.unwrap_err();
        assert!(matches!(error, HttpError::Network { sent: true, .. }), "{says:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_broken_answer() {
    for bytes in [&b"SSH-2.0-OpenSSH_9.6\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", b"HTTP/1.1 two OK\r\n\r\n"]
    {
        let error = Server::that(Says::Bytes(bytes)).await.get(LONG).await.unwrap_err();
        assert!(matches!(error, HttpError::Broken { .. }), "{bytes:?}: {error:?}");
    }
}

#[tokio::test]
async fn no_failure_shows_a_part_of_a_secret_address() {
    let cut: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nno";
    let all = [
        Says::Bytes(b""),
        Says::Reset(b""),
        Says::Bytes(cut),
        Says::Bytes(b"garbage\r\n\r\n"),
        Says::Drip(b"", LONG),
        Says::Flood(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
    ];
    for says in all {
        let server = Server::that(says).await;
        let request = Request::at_secret("POST", reference("slack")).timeout(Duration::from_millis(300));
        let error = server.client.send(request).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("POST ‹secret slack›"), "{told}");
        assert!(!told.contains("SECRET") && !told.contains("hooks.slack.com"), "{told}");
        assert!(server.requests.lock().unwrap()[0].starts_with(&format!("POST {SECRET_PATH} ")));
    }
}
