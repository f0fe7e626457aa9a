//! Contestants: a server, pinned to its CPUs, and the clients that hold connections to it (`load.c`).

use crate::process::{self, Usage};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The numbers of each round.
pub type Rounds = Vec<Vec<f64>>;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const START: Duration = Duration::from_secs(10);
/// Most connections of one client: the ports of one address, and its descriptors.
const PER_CLIENT: usize = 18_000;

/// What is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Echo,
    Http,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Http => "http",
        }
    }
}

/// A server program, before it is started.
pub struct Server {
    pub name: &'static str,
    pub kind: Kind,
    /// `None`: it is not here, for a reason that was printed.
    make: fn(Kind, u16, usize) -> Option<Command>,
}

pub const OURS: [Server; 2] = [
    Server::new("ours", Kind::Echo, ours),
    Server::new("ours", Kind::Http, ours),
];
pub const EPOLL: Server = Server::new("epoll", Kind::Echo, epoll);
pub const GO: [Server; 2] = [
    Server::new("go net", Kind::Echo, go),
    Server::new("go net/http", Kind::Http, go),
];
pub const TOKIO: [Server; 2] = [
    Server::new("tokio", Kind::Echo, tokio),
    Server::new("tokio + hyper", Kind::Http, tokio),
];
pub const MAY: Server = Server::new("may", Kind::Echo, may);
pub const NGINX: Server = Server::new("nginx", Kind::Http, nginx);
pub const NODE: Server = Server::new("node", Kind::Http, node);

impl Server {
    const fn new(name: &'static str, kind: Kind, make: fn(Kind, u16, usize) -> Option<Command>) -> Self {
        Self { name, kind, make }
    }
}

fn ours(kind: Kind, port: u16, workers: usize) -> Option<Command> {
    let name = format!("{}_goroutine", kind.word());
    let lib = format!("{ROOT}/target/release");
    let mut libraries = vec![
        "-L".into(),
        lib.clone(),
        "-lgoroutine".into(),
        format!("-Wl,-rpath,{lib}"),
    ];
    if kind == Kind::Http {
        libraries.push("-lhttp_parser".into());
    }
    let mut command = Command::new(compiled(&name, &libraries)?);
    command
        .arg(port.to_string())
        .env("GOROUTINE_WORKERS", workers.to_string());
    Some(command)
}

fn epoll(_: Kind, port: u16, _: usize) -> Option<Command> {
    let mut command = Command::new(compiled("echo_epoll", &[])?);
    command.arg(port.to_string());
    Some(command)
}

fn go(kind: Kind, port: u16, workers: usize) -> Option<Command> {
    let mut command = peer("go-io")?;
    command
        .args([kind.word(), &port.to_string()])
        .env("GOMAXPROCS", workers.to_string());
    Some(command)
}

fn tokio(kind: Kind, port: u16, workers: usize) -> Option<Command> {
    let mut command = peer("tokio-io")?;
    command.args([kind.word(), &port.to_string(), &workers.to_string()]);
    Some(command)
}

fn may(kind: Kind, port: u16, workers: usize) -> Option<Command> {
    let mut command = peer("may-io")?;
    command.args([kind.word(), &port.to_string(), &workers.to_string()]);
    Some(command)
}

fn nginx(_: Kind, port: u16, workers: usize) -> Option<Command> {
    let text = std::fs::read_to_string(format!("{ROOT}/benches/peers/nginx/io.conf")).ok()?;
    let directory = directory().join(format!("nginx-{port}"));
    std::fs::create_dir_all(&directory).ok()?;
    let conf = directory.join("io.conf");
    let text = text
        .replace("worker_processes 1", &format!("worker_processes {workers}"))
        .replace("PORT", &port.to_string())
        .replace("DIRECTORY", directory.to_str()?);
    std::fs::write(&conf, text).ok()?;
    let program = found(
        "nginx",
        &[
            "/usr/sbin/nginx",
            concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/nginx/usr/sbin/nginx"),
        ],
    )?;
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(conf)
        .arg("-e")
        .arg(directory.join("start.log"));
    Some(command)
}

fn node(kind: Kind, port: u16, _: usize) -> Option<Command> {
    let mut command = Command::new(found("node", &[])?);
    command.args([
        &format!("{ROOT}/benches/peers/node/io.js"),
        kind.word(),
        &port.to_string(),
    ]);
    Some(command)
}

fn peer(name: &str) -> Option<Command> {
    let path = format!("{ROOT}/target/peers/bin/peer-{name}");
    if Path::new(&path).exists() {
        return Some(Command::new(path));
    }
    skipped(name, "not built: `make deps-bench` says why");
    None
}

/// On PATH, or where Debian puts it.
fn found(name: &str, also: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .chain(also.iter().map(PathBuf::from))
        .find(|path| path.exists());
    if found.is_none() {
        skipped(name, "not installed");
    }
    found
}

pub fn skipped(name: &str, why: &str) {
    println!("{name}: skipped ({why})");
}

fn directory() -> PathBuf {
    let directory = PathBuf::from(format!("{ROOT}/target/io"));
    std::fs::create_dir_all(&directory).expect("target/io");
    directory
}

/// benches/io/NAME.c, compiled if it or what it includes is newer than the program.
pub fn compiled(name: &str, libraries: &[String]) -> Option<PathBuf> {
    let source = format!("{ROOT}/benches/io/{name}.c");
    let program = directory().join(name);
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let done = Command::new(&compiler)
        .args(["-O2", "-std=gnu11", "-Wall", "-Wextra", "-I"])
        .arg(format!("{ROOT}/include"))
        .arg(source)
        .arg("-o")
        .arg(&program)
        .args(libraries)
        .output();
    match done {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            skipped(
                name,
                "it does not compile; http_goroutine needs libhttp-parser-dev",
            );
            None
        }
        Err(error) => {
            skipped(name, &format!("{compiler}: {error}"));
            None
        }
    }
}

/// A client, which holds connections to one server.
struct Client {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    connections: usize,
}

impl Client {
    fn start(program: &Path, number: usize, port: u16, kind: Kind, cpus: &[usize]) -> Self {
        let mut command = Command::new(program);
        let from = format!("127.0.{}.{}", 1 + number / 250, 1 + number % 250);
        command.args([&port.to_string(), kind.word(), &from]);
        process::pin(&mut command, cpus);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        Self {
            ask: child.stdin.take().expect("piped"),
            answers: BufReader::new(child.stdout.take().expect("piped")),
            child,
            connections: 0,
        }
    }

    /// None: it gave up, and said why on standard error.
    fn ask(&mut self, line: &str) -> Option<Vec<f64>> {
        writeln!(self.ask, "{line}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        let numbers = answer.split_whitespace().skip(1).map(|word| word.parse().ok());
        numbers
            .collect::<Option<Vec<f64>>>()
            .filter(|numbers| !numbers.is_empty())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run of the client measured.
pub struct Run {
    pub cpu_us_per_request: f64,
    pub requests_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Also those that were not measured.
    pub requests: f64,
}

impl Run {
    pub fn numbers(&self) -> Vec<f64> {
        vec![
            self.cpu_us_per_request,
            self.requests_per_s,
            self.p50_us,
            self.p99_us,
        ]
    }
}

/// A server that runs.
pub struct Contestant {
    pub name: String,
    server: Child,
    /// With its children.
    pids: Vec<u32>,
    clients: Vec<Client>,
    kind: Kind,
    port: u16,
    /// Before the first connection that stays.
    pub before: Usage,
}

impl Contestant {
    /// On `server_cpus`, without connections; `None`: it is skipped.
    pub fn start(of: &Server, workers: usize, cpus: &[usize]) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").ok()?;
        let port = free.local_addr().ok()?.port();
        drop(free);
        let mut command = (of.make)(of.kind, port, workers)?;
        process::pin(&mut command, cpus);
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let server = match server {
            Ok(server) => server,
            Err(error) => {
                skipped(of.name, &format!("it does not start: {error}"));
                return None;
            }
        };
        let mut this = Self {
            name: of.name.into(),
            pids: vec![server.id()],
            server,
            clients: Vec::new(),
            kind: of.kind,
            port,
            before: Usage::default(),
        };
        if !this.answers() {
            skipped(of.name, "it does not answer");
            return None;
        }
        this.pids = process::with_children(this.server.id());
        this.before = this.usage();
        Some(this)
    }

    /// On a connection of its own, once it listens: two requests, the first with a piece of the second, then the rest.
    fn answers(&self) -> bool {
        const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let start = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(_) if start.elapsed() > START => return false,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let both = REQUEST.repeat(2);
        let (first, rest) = both.split_at(REQUEST.len() + 5);
        let answer = match self.kind {
            Kind::Echo => REQUEST,
            Kind::Http => "Hello, world!",
        };
        let mut got = String::new();
        let mut read_until = |mut stream: &TcpStream, answers: usize| {
            while got.matches(answer).count() < answers {
                let mut buffer = [0; 1024];
                match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => got += &String::from_utf8_lossy(&buffer[..n]),
                    _ => return false,
                }
            }
            true
        };
        let _ = stream.set_read_timeout(Some(START));
        stream.write_all(first.as_bytes()).is_ok()
            && read_until(&stream, 1)
            && stream.write_all(rest.as_bytes()).is_ok()
            && read_until(&stream, 2)
    }

    /// So many connections more. False: it did not come to that.
    pub fn connect(&mut self, connections: usize, cpus: &[usize]) -> bool {
        let program = compiled_client();
        let mut left = connections;
        while left > 0 {
            let room = self
                .clients
                .last()
                .map_or(0, |client| PER_CLIENT - client.connections);
            if room == 0 {
                let number = self.clients.len();
                self.clients
                    .push(Client::start(&program, number, self.port, self.kind, cpus));
                continue;
            }
            let now = left.min(room);
            let client = self.clients.last_mut().expect("there is room in it");
            if client.ask(&format!("connect {now}")).is_none() {
                return false;
            }
            client.connections += now;
            left -= now;
        }
        true
    }

    /// One request on each connection.
    pub fn touch(&mut self) -> bool {
        self.clients
            .iter_mut()
            .all(|client| client.ask("touch").is_some())
    }

    /// So many connections are busy, after `warm_ms` for `ms`.
    pub fn run(&mut self, active: usize, warm_ms: u64, ms: u64) -> Option<Run> {
        let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
        let line = format!("run {active} {warm_ms} {ms} {}", pids.join(" "));
        let n = self.clients.first_mut()?.ask(&line)?;
        let [answers, ns, cpu_ns, p50, p99, _, all] = n[..] else {
            return None;
        };
        Some(Run {
            cpu_us_per_request: cpu_ns / answers / 1e3,
            requests_per_s: answers / ns * 1e9,
            p50_us: p50 / 1e3,
            p99_us: p99 / 1e3,
            requests: all,
        })
    }

    /// What its processes take now.
    pub fn usage(&self) -> Usage {
        self.pids
            .iter()
            .fold(Usage::default(), |sum, &pid| sum.plus(Usage::of(pid)))
    }

    /// System calls made while `f` runs, counted by strace.
    pub fn system_calls(&mut self, f: impl FnOnce(&mut Self) -> Option<f64>) -> Option<f64> {
        let counting = process::Counting::start(&self.pids)?;
        let per = f(self);
        let calls = counting.stop()?;
        Some(calls / per?)
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        self.clients.clear();
        process::end(&mut self.server);
    }
}

fn compiled_client() -> PathBuf {
    use std::sync::OnceLock;
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM
        .get_or_init(|| compiled("load", &[]).expect("the client compiles"))
        .clone()
}
