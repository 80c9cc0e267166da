//! Processes without the job's token reach the ports of a job: they cost it no memory, no
//! descriptors and no result.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightDescriptor, Ticket};
use faisca_executor::protocol::flight::{Credentials, connect};
use tonic::Request;

use crate::recovery::children;
use crate::support::{command, tpch_data};

/// What an attack may cost a process.
const GROWTH_BYTES_MAX: u64 = 50 << 20;
const BODY_BYTES: usize = 200 << 20;
const STATEMENT: &str = "SELECT count(*), sum(l_orderkey) FROM lineitem;";

/// A shell of the command with two executors, to which statements are typed.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Shell {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .env("HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let stdin = child.stdin.take().unwrap();
        let mut shell = Self {
            child,
            stdin,
            lines,
        };
        shell.execute(&format!(
            "CREATE EXTERNAL TABLE lineitem STORED AS PARQUET LOCATION '{}/';",
            tpch_data().join("lineitem").display()
        ));
        shell
    }

    fn execute(&mut self, statement: &str) {
        writeln!(self.stdin, "{statement}").unwrap();
    }

    /// The cells of the only row of [`STATEMENT`].
    fn answer(&mut self) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).unwrap();
            if line.contains('|') && line.chars().filter(char::is_ascii_digit).count() > 8 {
                return line;
            }
        }
    }

    /// The driver and its executors.
    fn processes(&self) -> Vec<u32> {
        let started = Instant::now();
        loop {
            let executors = children(self.child.id());
            if executors.len() == 2 && executors.iter().all(|pid| listening_port(*pid).is_some()) {
                return std::iter::once(self.child.id()).chain(executors).collect();
            }
            assert!(started.elapsed().as_secs() < 30, "no executors");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(mut self) {
        drop(self.stdin);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// The port on which a process listens.
fn listening_port(pid: u32) -> Option<u16> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let sockets: HashSet<String> = links
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?;
            Some(link.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_own_listener = fields[3] == "0A" && sockets.contains(fields[9]);
        let port = fields[1].split_once(':')?.1;
        is_own_listener.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Resets the peak of a process's resident memory to its present size, which is returned.
fn forget_peak(pid: u32) -> u64 {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    status_bytes(pid, "VmRSS")
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Calls with bodies of 200 MiB, without a token and with a wrong one.
async fn send_large_bodies(port: u16) {
    let body = bytes::Bytes::from(vec![7; BODY_BYTES]);
    for token in [None, Some("guess")] {
        let credentials = Credentials::unencrypted(token.unwrap_or_default());
        let address = format!("http://127.0.0.1:{port}");
        let channel = connect(&address, &credentials).await.unwrap();
        let mut client = FlightServiceClient::new(channel);
        let mut request = Request::new(FlightDescriptor::new_cmd(body.clone()));
        let mut ticket = Request::new(Ticket::new(body.clone()));
        if token.is_some() {
            credentials.authorize(&mut request).unwrap();
            credentials.authorize(&mut ticket).unwrap();
        }
        let mut other = client.clone();
        let (info, get) = tokio::join!(client.get_flight_info(request), other.do_get(ticket));
        assert!(info.is_err() && get.is_err(), "a stranger was served");
    }
}

/// Streams that are opened and never end.
async fn open_streams(port: u16, count: usize) {
    let credentials = Credentials::unencrypted("");
    let address = format!("http://127.0.0.1:{port}");
    let channel = connect(&address, &credentials).await.unwrap();
    let streams = (0..count).map(|_| {
        let mut client = FlightServiceClient::new(channel.clone());
        async move { client.do_exchange(futures::stream::pending()).await }
    });
    let opened = futures::future::join_all(streams).await;
    assert!(opened.iter().all(Result::is_err), "a stranger was served");
}

/// Connections that send the start of a request, a byte at a time.
fn start_slow_requests(port: u16, count: usize) -> Vec<TcpStream> {
    let mut slow: Vec<TcpStream> = (0..count)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok())
        .collect();
    for stream in &mut slow {
        // The preface, empty settings, and two of the 8,192 bytes of a header.
        let frames =
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x20\0\x01\0\0\0\0\x01ab";
        let _ = stream.write_all(frames);
    }
    slow
}

/// Waits for the end of a connection, up to `limit`.
fn is_closed_within(mut stream: &TcpStream, limit: Duration) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let started = Instant::now();
    let mut buffer = [0; 1024];
    while started.elapsed() < limit {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let _ = stream.write_all(b"c");
            }
            Err(_) => return true,
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cost_a_job_no_memory_and_no_result() {
    let mut job = command();
    job.args(["sql", "--executors", "2", "--executor-cores", "1"])
        .args(["--conf", "faisca.smallQueryBytes=0"]);
    let mut shell = Shell::start(job);
    let processes = shell.processes();
    shell.execute(STATEMENT);
    let expected = shell.answer();
    let before: Vec<u64> = processes.iter().map(|pid| forget_peak(*pid)).collect();
    for pid in &processes {
        let port = listening_port(*pid).unwrap();
        let slow = start_slow_requests(port, 300);
        shell.execute(STATEMENT);
        send_large_bodies(port).await;
        open_streams(port, 5_000).await;
        assert_eq!(shell.answer(), expected);
        let closed = slow
            .iter()
            .all(|stream| is_closed_within(stream, Duration::from_secs(15)));
        assert!(closed, "a slow connection stays");
    }
    for (pid, before) in processes.iter().zip(before) {
        let grown = status_bytes(*pid, "VmHWM").saturating_sub(before);
        assert!(grown < GROWTH_BYTES_MAX, "{pid}: {} MiB", grown >> 20);
    }
    shell.end();
}

#[test]
fn strangers_take_no_descriptor_that_a_job_needs() {
    let line = format!(
        "ulimit -n 200; exec {} sql --executors 2 --executor-cores 1 --conf faisca.smallQueryBytes=0",
        env!("CARGO_BIN_EXE_faisca")
    );
    let mut job = Command::new("sh");
    job.args(["-c", &line]);
    let mut shell = Shell::start(job);
    let driver = shell.processes()[0];
    shell.execute(STATEMENT);
    let expected = shell.answer();
    let port = listening_port(driver).unwrap();
    let idle: Vec<TcpStream> = (0..400)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok())
        .collect();
    assert!(idle.len() > 200);
    std::thread::sleep(Duration::from_millis(500));
    let before = cpu_ticks(driver);
    std::thread::sleep(Duration::from_secs(2));
    let ticks = cpu_ticks(driver) - before;
    assert!(
        ticks < 50,
        "the driver used {ticks} of 200 ticks while it was idle"
    );
    shell.execute(STATEMENT);
    assert_eq!(shell.answer(), expected);
    shell.end();
}
