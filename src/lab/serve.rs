//! The service that the laboratory's client asks for: it answers with the name of its node.
//!
//! HTTP over TCP on every address of the node, and echo over UDP on the addresses named. It leaves
//! closing to the client, which resets: neither side keeps connections in `TIME_WAIT`, although
//! there is a new one every millisecond.
use super::error::{Doing, Error, Result};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write, stderr};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Open connections; a further one closes the oldest. Fewer than the usual limit of descriptors.
const OPEN_MAX: usize = 512;
const LISTENER: u64 = u64::MAX;
const UDP_FIRST: u64 = 1 << 32;

/// Runs the service until it is killed. `args` are those after the hidden subcommand:
/// `NAME PORT [ADDRESS…]`; the addresses need not exist yet.
pub fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let Err(why) = serve(args);
    let _ = writeln!(stderr(), "latido lab-serve: {why}");
    ExitCode::FAILURE
}

fn serve(mut args: impl Iterator<Item = String>) -> Result<std::convert::Infallible> {
    let usage = || Error::new("usage: lab-serve NAME PORT [ADDRESS…]");
    let name = args.next().ok_or_else(usage)?;
    let port: u16 = args.next().ok_or_else(usage)?.parse().doing("the port")?;
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = TcpListener::from(socket(any, Type::STREAM)?);
    let poll = epoll::create(CreateFlags::CLOEXEC).doing("epoll")?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN).doing("epoll")?;
    let mut echoes = Vec::new();
    for (index, address) in (0..).zip(args) {
        let address: IpAddr = address.parse().doing(format!("the address {address}"))?;
        let echo = UdpSocket::from(socket(SocketAddr::from((address, port)), Type::DGRAM)?);
        epoll::add(&poll, &echo, EventData::new_u64(UDP_FIRST + index), EventFlags::IN)
            .doing("epoll")?;
        echoes.push(echo);
    }
    let mut service = Service {
        poll,
        listener,
        echoes,
        open: (0..OPEN_MAX).map(|_| None).collect(),
        order: VecDeque::with_capacity(OPEN_MAX),
        answer: format!(
            "HTTP/1.0 200 OK\r\nServer: latido-lab\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{name}\n",
            name.len() + 1
        ),
        name,
    };
    super::machine_of_its_own();
    loop {
        service.turn()?;
    }
}

fn socket(address: SocketAddr, kind: Type) -> Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let make = || {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv4() {
            socket.set_freebind_v4(true)?;
        } else {
            socket.set_freebind_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        if kind == Type::STREAM {
            socket.listen(1024)?;
        }
        Ok::<_, std::io::Error>(socket)
    };
    make().doing(format!("listening on {address}"))
}

struct Service {
    poll: OwnedFd,
    listener: TcpListener,
    echoes: Vec<UdpSocket>,
    open: Vec<Option<TcpStream>>,
    /// Slots in use, oldest first; a slot may have been closed meanwhile.
    order: VecDeque<usize>,
    answer: String,
    name: String,
}

impl Service {
    fn turn(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(why).doing("epoll"),
        }
        for event in events {
            let data = event.data;
            match data.u64() {
                LISTENER => self.accept(),
                echo if echo >= UDP_FIRST => self.echo((echo - UDP_FIRST) as usize),
                slot => self.answer(slot as usize),
            }
        }
        Ok(())
    }

    /// Takes every waiting connection.
    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let slot = match self.open.iter().position(Option::is_none) {
                Some(slot) => slot,
                None => self.order.pop_front().unwrap_or(0),
            };
            let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            let data = EventData::new_u64(slot as u64);
            if ready.is_ok() && epoll::add(&self.poll, &stream, data, EventFlags::IN).is_ok() {
                self.order.retain(|&used| used != slot);
                self.order.push_back(slot);
                self.open[slot] = Some(stream);
            }
        }
    }

    /// Answers whatever was asked; forgets the connection when the client has closed it.
    fn answer(&mut self, slot: usize) {
        let Some(stream) = self.open.get_mut(slot).and_then(Option::as_mut) else { return };
        let mut request = [0; 1024];
        let kept = match stream.read(&mut request) {
            Ok(0) => false,
            // The answer fits an empty socket buffer, so one write suffices.
            Ok(_) => stream.write_all(self.answer.as_bytes()).is_ok(),
            Err(why) => why.kind() == ErrorKind::WouldBlock,
        };
        if !kept {
            self.open[slot] = None;
        }
    }

    /// Returns each datagram with the node's name behind it.
    fn echo(&mut self, index: usize) {
        let Some(socket) = self.echoes.get(index) else { return };
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut reply = buffer[..length].to_vec();
            reply.extend_from_slice(self.name.as_bytes());
            let _ = socket.send_to(&reply, from);
        }
    }
}
