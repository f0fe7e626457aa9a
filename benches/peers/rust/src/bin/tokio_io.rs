//! tokio's and hyper's servers: `peer-tokio-io echo|http PORT [WORKERS]`. One task per connection, on the current thread with one
//! worker and on the multi-thread runtime with more.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 || stream.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, world!")));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

async fn http(stream: TcpStream) {
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(hello))
        .await;
}

async fn accept_all(is_http: bool, port: &str) {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("listen");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                if is_http {
                    tokio::spawn(http(stream));
                } else {
                    tokio::spawn(echo(stream));
                }
            }
            Err(error) => eprintln!("accept: {error}"),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, port) = (arguments[0].as_str(), &arguments[1]);
    if kind == "version" {
        return println!("tokio {}, hyper {}", env!("TOKIO_VERSION"), env!("HYPER_VERSION"));
    }
    let workers = arguments.get(2).map_or(1, |n| n.parse().expect("WORKERS"));
    let runtime = if workers == 1 {
        Builder::new_current_thread().enable_io().build()
    } else {
        Builder::new_multi_thread().worker_threads(workers).enable_io().build()
    };
    runtime.expect("tokio").block_on(async move {
        // Spawned: in the multi-thread runtime what is only blocked on runs on no worker.
        let _ = tokio::spawn({
            let port = port.clone();
            let is_http = kind == "http";
            async move { accept_all(is_http, &port).await }
        })
        .await;
    });
}
