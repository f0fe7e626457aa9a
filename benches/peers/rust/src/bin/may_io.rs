//! may's servers: `peer-may-io echo PORT [WORKERS]`. One coroutine per connection.

use may::go;
use may::net::{TcpListener, TcpStream};
use std::io::{Read, Write};

fn serve(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    let _ = stream.set_nodelay(true);
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 || stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, port) = (&arguments[0], &arguments[1]);
    if kind == "version" {
        return println!("may {}", env!("MAY_VERSION"));
    }
    assert_eq!(kind, "echo", "may has no HTTP server");
    let workers = arguments.get(2).map_or(1, |n| n.parse().expect("WORKERS"));
    may::config().set_workers(workers);
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("listen");
    let accepts = go!(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => drop(go!(move || serve(stream))),
                Err(error) => eprintln!("accept: {error}"),
            }
        }
    });
    accepts.join().expect("accept");
}
