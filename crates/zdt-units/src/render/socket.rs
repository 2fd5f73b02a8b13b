//! `NAME.socket`: what stays open while processes come and go.

use std::net::IpAddr;

use super::header;
use crate::model::{Ipv6, Listen, Service, Socket, TcpAddress, UnitName};
use crate::unit_file::{Section, UnitFile, Value};

pub(super) fn unit(service: &Service, socket: &Socket, source: &str) -> UnitFile {
    let mut unit = Section::new("Unit");
    unit.set(
        "Description",
        Value::text(&format!("{}: socket `{}`", service.name, socket.name)),
    );
    if !service.documentation.is_empty() {
        unit.set("Documentation", Value::uris(&service.documentation));
    }

    let mut listening = Section::new("Socket");
    for address in socket.listen.addresses() {
        listening.set("ListenStream", listen_stream(&address));
    }
    listening.set("FileDescriptorName", Value::text(socket.name.as_str()));
    let activated = service.activated();
    let stem = |unit: &UnitName, kind| unit.as_str().strip_suffix(kind).map(str::to_owned);
    // A socket finds the service of its own name by itself.
    if stem(&socket.unit, ".socket") != stem(&activated, ".service") {
        listening.set("Service", &activated);
    }
    match &socket.listen {
        Listen::Tcp {
            addresses,
            ipv6,
            defer_accept,
        } => tcp(&mut listening, addresses, *ipv6, *defer_accept),
        Listen::Unix {
            mode, user, group, ..
        } => {
            listening.set("SocketMode", Value::mode(*mode));
            if let Some(user) = user {
                listening.set("SocketUser", user);
            }
            if let Some(group) = group {
                listening.set("SocketGroup", group);
            }
            listening.set("RemoveOnStop", "yes");
        }
    }
    listening
        .comment("connections that wait while the service restarts; net.core.somaxconn caps it")
        .set("Backlog", u64::from(socket.backlog));

    let mut install = Section::new("Install");
    install.set("WantedBy", "sockets.target");

    UnitFile {
        service: service.name.clone(),
        name: socket.unit.clone(),
        header: header(&socket.unit, source),
        sections: vec![unit, listening, install],
    }
}

fn tcp(section: &mut Section, addresses: &[TcpAddress], ipv6: Option<Ipv6>, defer_accept: bool) {
    match ipv6 {
        None => {}
        Some(Ipv6::Both) => {
            section
                .comment("`[::]` takes IPv4 too, whatever net.ipv6.bindv6only says")
                .set("BindIPv6Only", "both");
        }
        Some(Ipv6::Only) => {
            section
                .comment("IPv4 has a socket of its own on the same port")
                .set("BindIPv6Only", "ipv6-only");
        }
    }
    if addresses
        .iter()
        .any(|address| is_of_one_interface(*address))
    {
        section
            .comment("the address may come up after the socket")
            .set("FreeBind", "yes");
    }
    section.set("NoDelay", "yes");
    if defer_accept {
        section
            .comment("the client speaks first: hand a connection over when its first byte is here")
            .set("DeferAcceptSec", "5");
    }
}

fn is_of_one_interface(address: TcpAddress) -> bool {
    let ip: IpAddr = address.bind().ip();
    !ip.is_unspecified() && !ip.is_loopback()
}

fn listen_stream(address: &crate::model::Address) -> Value {
    match address {
        crate::model::Address::Tcp(tcp) => Value::text(&tcp.bind().to_string()),
        crate::model::Address::Unix(path) => Value::from(path),
    }
}
