use super::*;
use crate::emitter::captured;
use common::limit::WriteLimit;
use common::stop::Stopper;
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes lines, and what it is shown for another reason than [`Why::Data`] as a whole.
struct Lines {
    heard: Sender<Heard>,
    addresses: Sender<(usize, SocketAddr)>,
    close_on: Option<&'static [u8]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Line(Vec<u8>),
    Rest(Why, Vec<u8>),
    Datagram(Vec<u8>),
}

impl Service for Lines {
    type State = ();

    fn bytes(&mut self, _: &Peer, (): &mut (), bytes: &[u8], why: Why, _: &mut Emitter) -> Verdict {
        if Some(bytes) == self.close_on {
            return Verdict::Close;
        }
        let mut taken = 0;
        while let Some(end) = bytes[taken..].iter().position(|&b| b == b'\n') {
            let line = bytes[taken..taken + end].to_vec();
            let _ = self.heard.send(Heard::Line(line));
            taken += end + 1;
        }
        if why != Why::Data {
            let rest = bytes[taken..].to_vec();
            taken += rest.len();
            let _ = self.heard.send(Heard::Rest(why, rest));
        }
        Verdict::Taken(taken)
    }

    fn datagram(&mut self, _: &Peer, bytes: &[u8], _: &mut Emitter) {
        let _ = self.heard.send(Heard::Datagram(bytes.to_vec()));
    }

    fn tick(&mut self, _: Instant, out: &mut Emitter) -> Option<Instant> {
        out.counter("rounds").fetch_add(1, Relaxed);
        None
    }

    fn listening(&mut self, port: usize, address: SocketAddr) {
        let _ = self.addresses.send((port, address));
    }
}

struct Running {
    heard: Receiver<Heard>,
    addresses: Receiver<(usize, SocketAddr)>,
    counters: Vec<(&'static str, Arc<AtomicU64>)>,
    stopper: Option<Stopper>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

fn limits() -> Limits {
    Limits {
        connections: 10,
        buffered: 1000,
        total: 5000,
        idle: None,
        incomplete: None,
        receive_buffer: None,
        root: "/".into(),
        spare_from: RawFd::MAX,
    }
}

fn port(transport: Transport) -> Port {
    let address = "127.0.0.1:0".parse().unwrap();
    Port { transport, address }
}

fn start(ports: &[Port], limits: Limits, close_on: Option<&'static [u8]>) -> Running {
    start_heard(ports, limits, close_on, unbounded())
}

/// With a channel of its own for what is heard: the server waits where that is full.
fn start_heard(
    ports: &[Port],
    limits: Limits,
    close_on: Option<&'static [u8]>,
    (say, heard): (Sender<Heard>, Receiver<Heard>),
) -> Running {
    let (tell, addresses) = unbounded();
    let (mut out, _, stopper) = captured::stoppable("net", WriteLimit::none(), &[]);
    let counters = [
        "connections",
        "connections_refused",
        "connections_timed_out",
        "connections_dropped",
        "ports_not_bound",
        "rounds",
    ]
    .map(|name| (name, out.counter(name)))
    .into();
    let ports = ports.to_vec();
    let thread = std::thread::spawn(move || {
        let mut service = Lines {
            heard: say,
            addresses: tell,
            close_on,
        };
        serve(&mut service, &ports, &limits, &mut out)
    });
    Running {
        heard,
        addresses,
        counters,
        stopper: Some(stopper),
        thread: Some(thread),
    }
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.addresses.recv_timeout(PATIENCE).unwrap().1
    }

    fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        let (_, counter) = self.counters.iter().find(|(n, _)| *n == name).unwrap();
        counter.load(Relaxed)
    }

    fn await_count(&self, name: &str, wanted: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(name) != wanted {
            assert!(Instant::now() < deadline, "{name} is {}", self.count(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(&mut self) -> Duration {
        let began = Instant::now();
        self.stopper = None;
        self.thread.take().unwrap().join().unwrap().unwrap();
        began.elapsed()
    }
}

fn closed_by_server(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read(&mut [0; 10]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn line(text: &str) -> Heard {
    Heard::Line(text.as_bytes().to_vec())
}

fn rest(why: Why, text: &str) -> Heard {
    Heard::Rest(why, text.as_bytes().to_vec())
}

#[test]
fn what_comes_in_pieces_is_shown_together_and_the_rest_at_the_end() {
    let running = start(&[port(Transport::Tcp)], limits(), None);
    let mut client = TcpStream::connect(running.address()).unwrap();
    client.write_all(b"one\ntw").unwrap();
    assert_eq!(running.next(), line("one"));
    client.write_all(b"o\nthr").unwrap();
    assert_eq!(running.next(), line("two"));
    client.write_all(b"ee").unwrap();
    drop(client);
    assert_eq!(running.next(), rest(Why::End, "three"));
    running.await_count("connections", 0);
}

#[test]
fn a_stop_is_heard_at_once_and_loses_nothing_that_has_arrived() {
    let mut running = start(
        &[port(Transport::Tcp), port(Transport::Udp)],
        limits(),
        None,
    );
    let (tcp, udp) = (running.address(), running.address());
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"a\nbegun").unwrap();
    assert_eq!(running.next(), line("a"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"d", udp).unwrap();
    // An idle server: nothing but the request can wake it.
    assert_eq!(running.next(), Heard::Datagram(b"d".to_vec()));
    assert!(running.stop() < PATIENCE);
    assert_eq!(running.next(), rest(Why::End, "begun"));
    assert!(TcpStream::connect(tcp).is_err());
}

#[test]
fn a_client_that_came_just_before_the_stop_is_still_heard() {
    let mut running = start_heard(&[port(Transport::Tcp)], limits(), None, bounded(0));
    let address = running.address();
    let mut busy = TcpStream::connect(address).unwrap();
    busy.write_all(b"busy\n").unwrap();
    running.await_count("connections", 1);
    // The server is held up by its service, so these wait to be accepted.
    for _ in 0..3 {
        let mut late = TcpStream::connect(address).unwrap();
        late.write_all(b"last\n").unwrap();
    }
    running.stopper = None;
    assert_eq!(running.next(), line("busy"));
    for _ in 0..3 {
        assert_eq!(running.next(), line("last"));
    }
    running.stop();
}

#[test]
fn nothing_wakes_an_idle_server_with_open_connections() {
    let running = start(&[port(Transport::Tcp)], limits(), None);
    let mut client = TcpStream::connect(running.address()).unwrap();
    client.write_all(b"a\npart").unwrap();
    assert_eq!(running.next(), line("a"));
    running.await_count("connections", 1);
    // Work that the bytes before have set off may go on for a moment
    let began = Instant::now();
    loop {
        let before = running.count("rounds");
        std::thread::sleep(Duration::from_millis(400));
        if running.count("rounds") == before {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it wakes again and again");
    }
}

#[test]
fn the_last_descriptors_are_left_to_the_rest_of_the_agent() {
    let mut limits = limits();
    limits.spare_from = 0;
    let running = start(&[port(Transport::Tcp)], limits, None);
    let mut refused = TcpStream::connect(running.address()).unwrap();
    assert!(closed_by_server(&mut refused));
    assert_eq!(running.count("connections_refused"), 1);
    assert_eq!(running.count("connections"), 0);
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let kept = soft - u64::try_from(spare_descriptors()).unwrap();
    assert!(kept >= 16 && kept < soft, "{kept} of {soft}");
}

#[test]
fn connections_beyond_the_bound_are_refused_and_counted_until_others_end() {
    let running = start(&[port(Transport::Tcp)], limits(), None);
    let address = running.address();
    let mut first: Vec<_> = (0..10)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    running.await_count("connections", 10);
    let mut late = TcpStream::connect(address).unwrap();
    assert!(closed_by_server(&mut late));
    assert_eq!(running.count("connections_refused"), 1);
    first.pop();
    running.await_count("connections", 9);
    let mut next = TcpStream::connect(address).unwrap();
    next.write_all(b"hello\n").unwrap();
    assert_eq!(running.next(), line("hello"));
}

#[test]
fn an_endless_message_is_shown_as_full_before_it_takes_more_memory() {
    let running = start(&[port(Transport::Tcp)], limits(), None);
    let mut client = TcpStream::connect(running.address()).unwrap();
    client.write_all(&[b'x'; 1001]).unwrap();
    drop(client);
    let mut all = Vec::new();
    while all.len() < 1001 {
        let Heard::Rest(why, bytes) = running.next() else {
            panic!("there is no line")
        };
        assert!(why == Why::Full || why == Why::End);
        all.extend(bytes);
    }
    assert_eq!(all, [b'x'; 1001]);
}

#[test]
fn many_unfinished_messages_share_one_bound() {
    let running = start(&[port(Transport::Tcp)], limits(), None);
    let address = running.address();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(&[b'y'; 900]).unwrap();
            client
        })
        .collect();
    // 6 * 900 > 5000: one of them has to go on, whichever that is
    let Heard::Rest(Why::Full, bytes) = running.next() else {
        panic!("nothing was said to be full")
    };
    assert_eq!(bytes.len(), 900);
    drop(clients);
    for _ in 0..5 {
        assert!(matches!(running.next(), Heard::Rest(Why::End, _)));
    }
}

#[test]
fn who_sends_whole_messages_does_not_pay_for_who_holds_much() {
    let tight = Limits {
        total: 1700,
        ..limits()
    };
    let running = start(&[port(Transport::Tcp)], tight, None);
    let address = running.address();
    let mut greedy: Vec<_> = (0..2)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut modest = TcpStream::connect(address).unwrap();
    modest.write_all(b"whole\npart").unwrap();
    assert_eq!(running.next(), line("whole"));
    greedy[0].write_all(&[b'y'; 800]).unwrap();
    greedy[1].write_all(&[b'y'; 950]).unwrap();
    let Heard::Rest(Why::Full, bytes) = running.next() else {
        panic!("nothing was said to be full")
    };
    assert_eq!(bytes.len(), 950);
    modest.write_all(b"ed\n").unwrap();
    assert_eq!(running.next(), line("parted"));
    assert_eq!(running.count("connections_dropped"), 0);
}

#[test]
fn an_unfinished_message_is_shown_again_by_the_clock_alone() {
    let late = Limits {
        incomplete: Some(Duration::from_millis(50)),
        ..limits()
    };
    let running = start(&[port(Transport::Tcp)], late, None);
    let mut client = TcpStream::connect(running.address()).unwrap();
    client.write_all(b"a\npart").unwrap();
    assert_eq!(running.next(), line("a"));
    assert_eq!(running.next(), rest(Why::Late, "part"));
    client.write_all(b"b\n").unwrap();
    assert_eq!(running.next(), line("b"));
}

#[test]
fn an_idle_connection_is_closed_even_if_it_dribbles() {
    let idle = Limits {
        idle: Some(Duration::from_millis(100)),
        ..limits()
    };
    let running = start(&[port(Transport::Tcp)], idle, None);
    let mut client = TcpStream::connect(running.address()).unwrap();
    let began = Instant::now();
    while running.count("connections_timed_out") == 0 {
        assert!(began.elapsed() < PATIENCE);
        let _ = client.write_all(b"x");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(closed_by_server(&mut client));
    assert!(matches!(running.next(), Heard::Rest(Why::End, _)));
}

#[test]
fn a_connection_that_the_service_does_not_want_is_closed_and_counted() {
    let running = start(&[port(Transport::Tcp)], limits(), Some(b"bad"));
    let mut client = TcpStream::connect(running.address()).unwrap();
    client.write_all(b"bad").unwrap();
    assert!(closed_by_server(&mut client));
    running.await_count("connections_dropped", 1);
}

#[test]
fn a_port_in_use_is_taken_when_it_is_free_and_the_others_serve_meanwhile() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let in_use = Port {
        transport: Transport::Tcp,
        address,
    };
    let running = start(&[in_use, port(Transport::Udp)], limits(), None);
    let (index, udp) = running.addresses.recv_timeout(PATIENCE).unwrap();
    assert_eq!(index, 1);
    running.await_count("ports_not_bound", 1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[b'z'; 60_000], udp).unwrap();
    assert_eq!(running.next(), Heard::Datagram(vec![b'z'; 60_000]));
    drop(taken);
    assert_eq!(
        running.addresses.recv_timeout(PATIENCE).unwrap(),
        (0, address)
    );
    running.await_count("ports_not_bound", 0);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"here\n").unwrap();
    assert_eq!(running.next(), line("here"));
}

#[test]
fn large_messages_of_many_reads_come_whole() {
    let large = Limits {
        buffered: 1 << 20,
        total: 1 << 20,
        ..limits()
    };
    let running = start(&[port(Transport::Tcp)], large, None);
    let mut client = TcpStream::connect(running.address()).unwrap();
    let mut text = vec![b'a'; 300_000];
    for (i, byte) in text.iter_mut().enumerate() {
        *byte += (i % 23) as u8;
    }
    for _ in 0..3 {
        client.write_all(&text).unwrap();
        client.write_all(b"\nshort\n").unwrap();
        assert_eq!(running.next(), Heard::Line(text.clone()));
        assert_eq!(running.next(), line("short"));
    }
}
