//! The proxy that the surroundings name is used for requests to the vendors, and not where they say it is not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::{Place, Said, said};

/// A proxy that answers plain requests itself and refuses to open tunnels. Returns its address and what it was asked.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let remembered = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            let status = if line.starts_with("CONNECT") { "403 Forbidden" } else { "200 OK" };
            remembered.lock().unwrap().push(line);
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (address, asked)
}

fn ask(url: &str, surroundings: &[(&str, &str)]) -> Said {
    let place = Place::new();
    let step = format!("steps:\n  ask:\n    uses: http.get\n    with: {{ url: \"{url}\", timeout: 5s }}\n");
    place.write("ask.yaml", &format!("runbook: ask\ntitle: Ask\n{step}"));
    let mut command = place.command(&["run", "ask.yaml", "-q"]);
    said(command.envs(surroundings.iter().copied()))
}

#[test]
fn a_plain_request_goes_by_the_proxy_and_an_encrypted_one_through_a_tunnel() {
    let (address, asked) = proxy();
    let proxies =
        [("HTTP_PROXY", address.as_str()), ("http_proxy", address.as_str()), ("HTTPS_PROXY", address.as_str())];
    let said = ask("http://app.example.com/health?a=b", &proxies);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = ask("https://app.example.com/health", &proxies);
    assert_eq!(said.code, Some(1), "the proxy opens no tunnel: {said:?}");
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, ["GET http://app.example.com/health?a=b HTTP/1.1", "CONNECT app.example.com:443 HTTP/1.1"]);
}

#[test]
fn a_host_that_needs_no_proxy_is_asked_without_one() {
    let (address, asked) = proxy();
    let (own, own_asked) = proxy();
    let proxies = [("HTTP_PROXY", address.as_str()), ("http_proxy", address.as_str()), ("NO_PROXY", "127.0.0.1")];
    let said = ask(&format!("{own}/health"), &proxies);
    assert_eq!((said.code, asked.lock().unwrap().len()), (Some(0), 0), "{said:?}");
    assert_eq!(*own_asked.lock().unwrap(), ["GET /health HTTP/1.1"]);
}
